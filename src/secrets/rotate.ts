/**
 * Rotation, without a moment in which a secret cannot be opened. Each step is a transaction, and each finds out anew what is left: whoever
 * breaks off, goes on by calling again.
 *
 * Of the master key: it wraps the data keys anew; secrets stay as they are. Of a tenant's data key: a new one is made and the old one kept beside it,
 * secrets are sealed anew, and when none is left under the old one it goes.
 */
import type { ClientBase, Pool } from "pg";
import { inTenant, readTenant } from "../db/tenant.js";
import { listTenants } from "../tenancy/tenants.js";
import { type DataKeys, newTenantKeys } from "./data-keys.js";
import type { Kms, WrappedKey } from "./kms.js";
import { lockTenantKeys, readTenantKeys, storeTenantKeys, type TenantKeys } from "./tenant-key.js";

/** Secrets of a transaction. */
const batchSecrets = 100;

/** A column that has secrets. Its functions run within a transaction of the tenant. */
export interface SecretStore {
  /** Seals up to `limit` secrets anew that are under an older data key than number `no`; returns how many. */
  resealOlder(client: ClientBase, keys: DataKeys, tenantId: string, no: number, limit: number): Promise<number>;
}

export interface KeyState {
  /** Number of the data key; 0: none yet. */
  no: number;
  ref: string;
  /** Secrets are still being sealed anew: the last rotation did not come to its end. */
  rotating: boolean;
  /** That of the master key which wraps now. */
  newestRef: string;
}

/** Throws FAILED_PRECONDITION, UNAVAILABLE. */
export async function readKeyState(pool: Pool, keys: DataKeys, tenantId: string): Promise<KeyState> {
  const newestRef = await keys.kms.newestRef();
  const { no, current, previous } = await readTenant(pool, tenantId, (client) => readTenantKeys(client, tenantId));
  return { no, ref: no === 0 ? "" : current.ref, rotating: previous !== undefined, newestRef };
}

/** Ends a rotation that was broken off, or else makes one. Returns how many secrets it sealed anew. Throws FAILED_PRECONDITION, UNAVAILABLE. */
export async function rotateDataKey(pool: Pool, keys: DataKeys, stores: readonly SecretStore[], tenantId: string): Promise<number> {
  const { kms } = keys;
  await inTenant(pool, tenantId, async (client) => {
    await lockTenantKeys(client, tenantId, "exclusive");
    const seen = await readTenantKeys(client, tenantId);
    if (seen.previous !== undefined) return;
    const fresh = await newTenantKeys(kms, tenantId);
    await storeTenantKeys(client, tenantId, seen, { ...fresh, no: seen.no + 1, previous: seen.no === 0 ? undefined : seen.current });
  });
  let sealed = 0;
  for (const store of stores) {
    for (let count = batchSecrets; count === batchSecrets; sealed += count) count = await resealBatch(pool, keys, store, tenantId);
  }
  await inTenant(pool, tenantId, async (client) => {
    await lockTenantKeys(client, tenantId, "exclusive");
    const seen = await readTenantKeys(client, tenantId);
    if (seen.previous === undefined) return;
    // Whoever sealed with the old key meanwhile has committed by now.
    for (const store of stores) {
      let count = batchSecrets;
      while (count === batchSecrets) {
        count = await store.resealOlder(client, keys, tenantId, seen.no, batchSecrets);
        sealed += count;
      }
    }
    await storeTenantKeys(client, tenantId, seen, { ...seen, previous: undefined });
  });
  return sealed;
}

function resealBatch(pool: Pool, keys: DataKeys, store: SecretStore, tenantId: string): Promise<number> {
  return inTenant(pool, tenantId, async (client) => {
    await lockTenantKeys(client, tenantId, "shared");
    const { no } = await readTenantKeys(client, tenantId);
    return store.resealOlder(client, keys, tenantId, no, batchSecrets);
  });
}

export interface Rewrapped {
  /** Tenants whose data key has another wrapping now. */
  rewrapped: number;
  /** That had the newest one already. */
  newest: number;
  /** Tenants whose turn had not come when time was up. */
  left: number;
  /** Codes of tenants whose data key could not be unwrapped: their master key is not there. */
  failed: string[];
}

/** Wraps the data keys of all tenants with the newest master key; stops when `signal` aborts. Throws FAILED_PRECONDITION, UNAVAILABLE. */
export async function rewrapDataKeys(pool: Pool, keys: DataKeys, signal: AbortSignal): Promise<Rewrapped> {
  const { kms } = keys;
  await kms.newestRef();
  const result: Rewrapped = { rewrapped: 0, newest: 0, left: 0, failed: [] };
  for (const { tenant_id: tenantId, code } of await listTenants(pool)) {
    if (signal.aborted) {
      result.left += 1;
      continue;
    }
    const done = await rewrapTenant(pool, kms, tenantId).catch((error) => {
      const { reason } = error as { reason?: unknown };
      if (reason === "MASTER_KEY_UNUSABLE") return "failed" as const;
      // While those before it had their turns, or in its own.
      if (reason === "TENANT_NOT_FOUND") return "erased" as const;
      throw error;
    });
    if (done === "failed") result.failed.push(code);
    else if (done !== "erased") result[done] += 1;
  }
  return result;
}

/** Throws NOT_FOUND. */
async function rewrapTenant(pool: Pool, kms: Kms, tenantId: string): Promise<"rewrapped" | "newest"> {
  const newestRef = await kms.newestRef();
  const isNewest = ({ no, current, previous }: TenantKeys) =>
    no === 0 || (current.ref === newestRef && (previous === undefined || previous.ref === newestRef));
  if (isNewest(await readTenant(pool, tenantId, (client) => readTenantKeys(client, tenantId)))) return "newest";
  return inTenant(pool, tenantId, async (client) => {
    await lockTenantKeys(client, tenantId, "exclusive");
    const seen = await readTenantKeys(client, tenantId);
    if (isNewest(seen)) return "newest";
    const again = async (key: WrappedKey) => kms.wrap(await kms.unwrap(key, tenantId), tenantId);
    const next = { no: seen.no, current: await again(seen.current), previous: seen.previous && (await again(seen.previous)) };
    await storeTenantKeys(client, tenantId, seen, next);
    return "rewrapped";
  });
}
