/** Whom the `authorization` header of a call stands for. */
import type { Pool } from "pg";
import { DomainError } from "../errors.js";
import { authenticate, type Caller } from "../tenancy/keys.js";
import { isTokenLike, type Tokens } from "../tenancy/tokens/tokens.js";

export interface Credentials {
  /** The value of the header; null without one. */
  header: string | null;
  /** How many of them the request has. */
  count: number;
}

/** An API key or, if this server takes them, a token. Throws UNAUTHENTICATED, and UNAVAILABLE when whoever knows cannot be asked. */
export async function identify(pool: Pool, tokens: Tokens | undefined, credentials: Credentials): Promise<Caller> {
  const credential = bearer(credentials);
  if (isTokenLike(credential)) {
    if (tokens !== undefined) return tokens.authenticate(credential);
    throw unauthenticated("This server takes API keys and no tokens: FROSTLINE_OIDC_ISSUER is not set.", "TOKENS_NOT_TAKEN");
  }
  const caller = await authenticate(pool, credential);
  if (caller === undefined) {
    throw unauthenticated("The key is unknown, revoked or expired. Ask an admin of your tenant for a new one.", "KEY_INVALID");
  }
  return caller;
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
