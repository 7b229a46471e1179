/** Whom the `authorization` header of a call stands for. */
import { DomainError } from "../errors.js";
import type { FailedAuthentications } from "../limits/failed-authentications.js";
import type { KeyLookups } from "../tenancy/key-lookups.js";
import type { Caller } from "../tenancy/keys.js";
import { isTokenLike, type Tokens } from "../tenancy/tokens/tokens.js";

export interface Credentials {
  /** The value of the header; null without one. */
  header: string | null;
  /** How many of them the request has. */
  count: number;
  /** IP address that they came from. */
  address: string;
}

export interface IdentifyOptions {
  keys: KeyLookups;
  /** undefined: this server takes none. */
  tokens: Tokens | undefined;
  failed: FailedAuthentications;
}

/**
 * An API key or, if this server takes them, a token. Throws UNAUTHENTICATED, RESOURCE_EXHAUSTED after too many that were wrong, and
 * UNAVAILABLE when whoever knows cannot be asked.
 */
export type Identify = (credentials: Credentials) => Promise<Caller>;

export function identification({ keys, tokens, failed }: IdentifyOptions): Identify {
  const look = async (credential: string, wasGood: boolean): Promise<Caller> => {
    if (isTokenLike(credential)) {
      if (tokens !== undefined) return tokens.authenticate(credential);
      throw unauthenticated("This server takes API keys and no tokens: FROSTLINE_OIDC_ISSUER is not set.", "TOKENS_NOT_TAKEN");
    }
    const caller = await keys.find(credential, wasGood);
    if (caller === undefined) {
      throw unauthenticated("The key is unknown, revoked or expired. Ask an admin of your tenant for a new one.", "KEY_INVALID");
    }
    return caller;
  };
  return async (credentials) => {
    const credential = bearer(credentials);
    return failed.attempt(credentials.address, credential, (wasGood) => look(credential, wasGood), isUnauthenticated);
  };
}

function isUnauthenticated(error: unknown): boolean {
  return error instanceof DomainError && error.code === "UNAUTHENTICATED";
}

function bearer({ header, count }: Credentials): string {
  if (count > 1) throw unauthenticated("The call carries more than one authorization header. Send one.", "KEY_AMBIGUOUS");
  // The characters of RFC 6750, and no others: what looks like a key and is none would only confuse whoever reads it.
  const secret = /^Bearer +([\w.~+/-]+=*) *$/i.exec(header ?? "")?.[1];
  if (secret === undefined) {
    throw unauthenticated("The call carries no key or token. Send one as `authorization: Bearer <key>`.", "KEY_MISSING");
  }
  return secret;
}

export function unauthenticated(message: string, reason: string): DomainError {
  return new DomainError("UNAUTHENTICATED", message, { reason });
}
