/** Transactions that act for one tenant. */
import type { Pool, PoolClient } from "pg";
import { callSignal } from "./call-signal.js";
import { cancelOnAbort } from "./cancel.js";
import { toDomainError } from "./errors.js";
import { connectFor } from "./tenant-pool.js";

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** What opens a tenant's transaction. SET LOCAL, not set_config(): only the former reaches the workers of a distributed database. */
export function beginFor(tenantId: string, mode: "READ WRITE" | "READ ONLY" = "READ WRITE"): string {
  if (!uuid.test(tenantId)) throw new Error(`not a tenant id: ${JSON.stringify(tenantId)}`);
  return `BEGIN ${mode}; SET LOCAL app.tenant_id = '${tenantId}'`;
}

/**
 * Runs `work` in one transaction of the tenant, READ COMMITTED, and commits it.
 * Any error rolls back and is rethrown, database errors as DomainError. When the call that this is part of is cancelled, or its
 * deadline is over, the running statement is cancelled and the call's reason thrown (see call-signal.ts).
 */
export async function inTenant<T>(pool: Pool, tenantId: string, work: (client: PoolClient) => Promise<T>): Promise<T> {
  return transact(pool, tenantId, beginFor(tenantId), work);
}

/** The same for reads: the database refuses any write. */
export async function readTenant<T>(pool: Pool, tenantId: string, work: (client: PoolClient) => Promise<T>): Promise<T> {
  return transact(pool, tenantId, beginFor(tenantId, "READ ONLY"), work);
}

async function transact<T>(pool: Pool, tenantId: string, begin: string, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const signal = callSignal();
  const { client, release, cancel } = await connectFor(pool, tenantId, signal).catch((error) => {
    throw signal?.aborted ? signal.reason : toDomainError(error);
  });
  const cancelling = signal && cancelOnAbort(signal, cancel);
  let broken = true;
  try {
    await client.query(begin);
    const result = await work(client);
    signal?.throwIfAborted();
    await client.query("COMMIT");
    broken = false;
    return result;
  } catch (error) {
    await cancelling?.over();
    broken = await client.query("ROLLBACK").then(
      () => false,
      () => true,
    );
    throw signal?.aborted ? signal.reason : toDomainError(error);
  } finally {
    await cancelling?.over();
    release(broken);
  }
}
