/** A tenant's data keys as its row has them: wrapped, numbered. Every function is within a transaction of the tenant. */
import type { ClientBase } from "pg";
import { DomainError } from "../errors.js";
import type { WrappedKey } from "./kms.js";

export interface TenantKeys {
  /** 0: none yet. */
  no: number;
  current: WrappedKey;
  /** While secrets are sealed anew. Its number is `no` - 1. */
  previous: WrappedKey | undefined;
}

/**
 * Until the commit. `shared` by who uses keys, `exclusive` by who makes one or gives one up: what was sealed under a key commits
 * before it is looked for, and no key goes while a secret is being opened with it.
 */
export async function lockTenantKeys(client: ClientBase, tenantId: string, mode: "shared" | "exclusive"): Promise<void> {
  const lock = mode === "shared" ? "pg_advisory_xact_lock_shared" : "pg_advisory_xact_lock";
  await client.query(`SELECT ${lock}(hashtextextended('data key ' || $1, 0))`, [tenantId]);
}

/** Throws NOT_FOUND: a tenant may be erased at any moment, whoever holds the lock on its keys. */
export async function readTenantKeys(client: ClientBase, tenantId: string): Promise<TenantKeys> {
  const { rows } = await client.query<{
    dek_no: number;
    kms_ref: string;
    encrypted_dek: string;
    previous_kms_ref: string | null;
    previous_encrypted_dek: string | null;
  }>("SELECT dek_no, kms_ref, encrypted_dek, previous_kms_ref, previous_encrypted_dek FROM tenant WHERE tenant_id = $1", [tenantId]);
  const [row] = rows;
  if (row === undefined)
    throw new DomainError("NOT_FOUND", `There is no tenant ${tenantId}; it was erased.`, { reason: "TENANT_NOT_FOUND" });
  const { previous_kms_ref: ref, previous_encrypted_dek: wrapped } = row;
  return {
    no: row.dek_no,
    current: { ref: row.kms_ref, wrapped: row.encrypted_dek },
    previous: ref === null || wrapped === null ? undefined : { ref, wrapped },
  };
}

/** Puts `next` in the place of `seen`. Under the exclusive lock, so that nobody else does; throws when somebody has, and NOT_FOUND. */
export async function storeTenantKeys(client: ClientBase, tenantId: string, seen: TenantKeys, next: TenantKeys): Promise<void> {
  const { rows } = await client.query<{ changed: bigint }>("SELECT set_data_key($1, $2, $3, $4, $5, $6, $7, $8, $9) AS changed", [
    tenantId,
    seen.no,
    seen.current.wrapped,
    seen.previous?.wrapped,
    next.no,
    next.current.ref,
    next.current.wrapped,
    next.previous?.ref,
    next.previous?.wrapped,
  ]);
  if (BigInt(rows[0]?.changed ?? 0) === 1n) return;
  await readTenantKeys(client, tenantId);
  throw new Error("the tenant's data key was changed without its lock");
}
