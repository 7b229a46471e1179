/** Bearer tokens (JSON Web Tokens) of one issuer, beside API keys. docs/operations.md says what they must claim. */
import { createHash } from "node:crypto";
import type { Pool } from "pg";
import type { TokenSettings } from "../../config-tokens.js";
import type { Logger } from "../../log.js";
import type { Caller } from "../keys.js";
import { IssuerKeys } from "./keys-of-issuer.js";
import { refusedToken } from "./refusals.js";
import { TenantLookup } from "./tenant-lookup.js";
import { type VerifiedToken, verifyToken } from "./verify.js";

export interface Tokens {
  /** Whom a token stands for. Throws UNAUTHENTICATED, and UNAVAILABLE while the issuer's keys or the database cannot be had. */
  authenticate(token: string): Promise<Caller>;
}

export interface TokensOptions {
  settings: TokenSettings;
  pool: Pool;
  log: Logger;
  /** The issuer's keys were read, or could not be. */
  onKeysRead: (outcome: "done" | "failed") => void;
}

/** Proxies allow about as much for a header line. */
const tokenCharsAtMost = 8 * 1024;

/** Three parts in base64url. A key has no dot. */
export function isTokenLike(credential: string): boolean {
  return /^[\w-]*\.[\w-]*\.[\w-]*$/.test(credential);
}

/**
 * Reads the issuer's keys out of a file, or begins to read them and does not wait: an issuer that is down must not keep the
 * server from starting. Throws an Error when the file cannot be used.
 */
export async function createTokens({ settings, pool, log, onKeysRead }: TokensOptions): Promise<Tokens> {
  const keys = new IssuerKeys({ source: settings.keys, cooldownMs: settings.keysCooldownMs, log, onRead: onKeysRead });
  const tenants = new TenantLookup(pool);
  const verified = new VerifiedTokens();
  const read = keys.refresh();
  if (settings.keys.kind === "file") {
    await read;
    if (keys.problem !== undefined) throw keys.problem;
  }
  return {
    async authenticate(token) {
      if (token.length > tokenCharsAtMost) {
        throw refusedToken("TOKEN_TOO_LONG", `The token has more than ${tokenCharsAtMost} characters. Have the issuer leave claims out.`);
      }
      const hash = createHash("sha256").update(token).digest("base64");
      // Before the key is looked for: what an old key verified must not count as verified by those that came meanwhile.
      const { generation } = keys;
      let known = verified.get(hash, generation);
      if (known === undefined) {
        known = await verifyToken(settings, keys.find, token);
        verified.add(hash, known, generation);
      }
      const tenant = await tenants.find(known.tenant);
      if (tenant === undefined) {
        throw refusedToken("TOKEN_TENANT_UNKNOWN", `There is no tenant by the code or id in the token's claim ${settings.tenantClaim}.`);
      }
      return { ...tenant, callerId: known.callerId, scopes: known.scopes, tokenExpiresMs: known.expiresMs };
    },
  };
}

/** A signature costs more than the call it comes with. */
const verifiedAtMost = 10_000;
/** Then it is verified again, which also looks whether the issuer's keys are fresh. */
const verifiedMs = 300_000;

interface Entry {
  token: VerifiedToken;
  generation: number;
  untilMs: number;
}

/** Tokens that were found good, by their hash, until they expire. */
class VerifiedTokens {
  readonly #byHash = new Map<string, Entry>();

  get(hash: string, generation: number): VerifiedToken | undefined {
    const entry = this.#byHash.get(hash);
    if (entry === undefined) return undefined;
    if (entry.untilMs > Date.now() && entry.generation === generation) return entry.token;
    this.#byHash.delete(hash);
    return undefined;
  }

  add(hash: string, token: VerifiedToken, generation: number): void {
    this.#byHash.set(hash, { token, generation, untilMs: Math.min(token.expiresMs, Date.now() + verifiedMs) });
    if (this.#byHash.size > verifiedAtMost) this.#byHash.delete(this.#byHash.keys().next().value as string);
  }
}
