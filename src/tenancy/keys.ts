/** API keys: what a caller proves its tenant and scopes with. Only a key's SHA-256 is stored. */
import { createHash, randomBytes, randomUUID } from "node:crypto";
import type { ClientBase, Pool, PoolClient } from "pg";
import { toDomainError } from "../db/errors.js";
import { inTenant, readTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { isTokenCaller } from "./actor.js";
import { assertName, invalidField, parseUuid } from "./validate.js";

export const keyScopes = ["agent", "operator", "reader", "admin"] as const;
export type KeyScope = (typeof keyScopes)[number];

export interface ApiKey {
  key_id: string;
  name: string;
  scopes: KeyScope[];
  created_utc: Date;
  expires_utc: Date | null;
  revoked_utc: Date | null;
}

export interface NewKey {
  name: string;
  scopes: readonly KeyScope[];
  expiresUtc?: Date | undefined;
}

/** Whom a key or a token stands for. */
export interface Caller {
  tenantId: string;
  /** The key's id; of a token see tokenCallerId. */
  callerId: string;
  scopes: KeyScope[];
  isPlatform: boolean;
  /** Until when a token is good, in ms since 1970; undefined for a key, whose expiry the database knows. */
  tokenExpiresMs?: number | undefined;
}

/** Makes a key. `secret` is what the caller shows; it cannot be had again. Throws INVALID_ARGUMENT. */
export async function createKey(pool: Pool, tenantId: string, key: NewKey): Promise<{ key: ApiKey; secret: string }> {
  assertNewKey(key);
  return inTenant(pool, tenantId, (client) => insertKey(client, tenantId, key));
}

/** The same within a transaction of the tenant. */
export async function insertKey(client: PoolClient, tenantId: string, key: NewKey): Promise<{ key: ApiKey; secret: string }> {
  const secret = `fl_${randomBytes(32).toString("base64url")}`;
  const { rows } = await client.query<ApiKey>(
    `INSERT INTO api_key (tenant_id, key_id, name, scopes, secret_sha256, expires_utc)
     VALUES ($1, $2, $3, $4, $5, $6)
     RETURNING key_id, name, scopes, created_utc, expires_utc, revoked_utc`,
    [tenantId, randomUUID(), key.name, key.scopes, digest(secret), key.expiresUtc ?? null],
  );
  return { key: rows[0] as ApiKey, secret };
}

function assertNewKey(key: NewKey): void {
  assertName("name", key.name);
  if (key.scopes.length === 0) throw invalidField("scopes", "is empty. Name at least one.");
  if (new Set(key.scopes).size < key.scopes.length) throw invalidField("scopes", "names a scope twice.");
  if (key.expiresUtc !== undefined && !(key.expiresUtc.getTime() > Date.now())) throw invalidField("expire_time", "is not in the future.");
}

/** All keys of the tenant, oldest first. */
export async function listKeys(pool: Pool, tenantId: string): Promise<ApiKey[]> {
  return readTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<ApiKey>(
      `SELECT key_id, name, scopes, created_utc, expires_utc, revoked_utc
       FROM api_key WHERE tenant_id = $1 ORDER BY created_utc, key_id`,
      [tenantId],
    );
    return rows;
  });
}

/**
 * Revokes a key; a second time changes nothing. Throws NOT_FOUND, and FAILED_PRECONDITION when a key would be the tenant's last one in force of
 * scope admin: then nobody could make another. Who calls by a token (`callerId`) still can, and may.
 */
export async function revokeKey(pool: Pool, tenantId: string, callerId: string, keyId: string): Promise<ApiKey> {
  const id = parseUuid("key_id", keyId);
  return inTenant(pool, tenantId, async (client) => {
    if (!isTokenCaller(callerId)) await assertAnotherAdmin(client, tenantId, id);
    const { rows } = await client.query<ApiKey>(
      `UPDATE api_key SET revoked_utc = coalesce(revoked_utc, now()) WHERE tenant_id = $1 AND key_id = $2
       RETURNING key_id, name, scopes, created_utc, expires_utc, revoked_utc`,
      [tenantId, id],
    );
    const [key] = rows;
    if (key !== undefined) return key;
    throw new DomainError("NOT_FOUND", `There is no key ${id}. ListKeys shows those there are.`, { reason: "KEY_NOT_FOUND" });
  });
}

/** Locks the admin keys: of two that revoke each other, the second sees what the first has done. */
async function assertAnotherAdmin(client: PoolClient, tenantId: string, keyId: string): Promise<void> {
  const { rows } = await client.query<{ key_id: string }>(
    `SELECT key_id FROM api_key WHERE tenant_id = $1 AND 'admin' = ANY (scopes) AND revoked_utc IS NULL AND (expires_utc IS NULL OR expires_utc > now())
     ORDER BY key_id FOR UPDATE`,
    [tenantId],
  );
  if (rows.length !== 1 || rows[0]?.key_id !== keyId) return;
  throw new DomainError(
    "FAILED_PRECONDITION",
    `Key ${keyId} is the tenant's last one with the scope admin: without it nobody could make keys any more. Make another admin key first, and revoke this one with it.`,
    { reason: "LAST_ADMIN_KEY", metadata: { key_id: keyId } },
  );
}

/** Whom a secret stands for; undefined when it is unknown, revoked or expired. Asks the database each time: a revocation counts at once. */
export async function authenticate(pool: Pool, secret: string): Promise<Caller | undefined> {
  // What cannot be a key does not cost the database anything.
  if (!/^fl_[\w-]{43}$/.test(secret)) return undefined;
  const { rows } = await pool
    .query<{ tenant_id: string; key_id: string; scopes: KeyScope[]; is_platform: boolean }>(
      "SELECT tenant_id, key_id, scopes, is_platform FROM authenticate_key($1)",
      [digest(secret)],
    )
    .catch((error) => {
      throw toDomainError(error);
    });
  const [row] = rows;
  return row && { tenantId: row.tenant_id, callerId: row.key_id, scopes: row.scopes, isPlatform: row.is_platform };
}

/** Whether the key or the token that was good when a call began still is. Within a transaction of the tenant. */
export async function isInForce(client: ClientBase, caller: Pick<Caller, "tenantId" | "callerId" | "tokenExpiresMs">): Promise<boolean> {
  const { tenantId, callerId, tokenExpiresMs } = caller;
  if (tokenExpiresMs !== undefined) return tokenExpiresMs > Date.now();
  const { rowCount } = await client.query(
    `SELECT FROM api_key WHERE tenant_id = $1 AND key_id = $2 AND revoked_utc IS NULL AND (expires_utc IS NULL OR expires_utc > now())`,
    [tenantId, callerId],
  );
  return rowCount === 1;
}

/** A secret has 256 random bits: there is nothing to guess, so no slow hash is needed. */
function digest(secret: string): Buffer {
  return createHash("sha256").update(secret, "utf8").digest();
}
