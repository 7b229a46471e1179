/** Transactions that act for one tenant. */
import type { Pool, PoolClient } from "pg";
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
 * Any error rolls back and is rethrown, database errors as DomainError.
 */
export async function inTenant<T>(pool: Pool, tenantId: string, work: (client: PoolClient) => Promise<T>): Promise<T> {
  return transact(pool, tenantId, beginFor(tenantId), work);
}

/** The same for reads: the database refuses any write. */
export async function readTenant<T>(pool: Pool, tenantId: string, work: (client: PoolClient) => Promise<T>): Promise<T> {
  return transact(pool, tenantId, beginFor(tenantId, "READ ONLY"), work);
}

async function transact<T>(pool: Pool, tenantId: string, begin: string, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const { client, release } = await connectFor(pool, tenantId).catch((error) => {
    throw toDomainError(error);
  });
  let broken = true;
  try {
    await client.query(begin);
    const result = await work(client);
    await client.query("COMMIT");
    broken = false;
    return result;
  } catch (error) {
    broken = await client.query("ROLLBACK").then(
      () => false,
      () => true,
    );
    throw toDomainError(error);
  } finally {
    release(broken);
  }
}
