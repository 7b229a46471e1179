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
  return transact(pool, tenantId, "READ WRITE", work);
}

/** The same for reads: the database refuses any write. Returns before the COMMIT has come back: nothing depends on it. */
export async function readTenant<T>(pool: Pool, tenantId: string, work: (client: PoolClient) => Promise<T>): Promise<T> {
  return transact(pool, tenantId, "READ ONLY", work);
}

async function transact<T>(
  pool: Pool,
  tenantId: string,
  mode: "READ WRITE" | "READ ONLY",
  work: (client: PoolClient) => Promise<T>,
): Promise<T> {
  const signal = callSignal();
  const begin = beginFor(tenantId, mode);
  const { client, release, cancel } = await connectFor(pool, tenantId, signal).catch((error) => {
    throw signal?.aborted ? signal.reason : toDomainError(error);
  });
  const cancelling = signal && cancelOnAbort(signal, cancel);
  // The first statement goes right behind it: each wait for an answer is one for a busy event loop too.
  const begun = client.query(begin);
  // Awaited below.
  begun.catch(() => {});
  try {
    const result = await work(client);
    await begun;
    signal?.throwIfAborted();
    if (mode === "READ ONLY") {
      await cancelling?.over();
      client.query("COMMIT").then(
        () => release(false),
        () => release(true),
      );
      return result;
    }
    await client.query("COMMIT");
    await cancelling?.over();
    release(false);
    return result;
  } catch (error) {
    await cancelling?.over();
    const broken = await client.query("ROLLBACK").then(
      () => false,
      () => true,
    );
    release(broken);
    throw signal?.aborted ? signal.reason : toDomainError(error);
  }
}
