/** What has been asked to be erased, and a first go at it. */
import type { Pool } from "pg";
import { toDomainError } from "../db/errors.js";
import { readTenant } from "../db/tenant.js";
import { continueErasures } from "./erase.js";

export interface Erasure {
  erasureId: bigint;
  kind: "SHARE" | "TENANT" | "PERSON";
  shareId: bigint | null;
  erasedTenantId: string | null;
  requestedBy: string;
  requestedUtc: Date;
  /** Null: under way. */
  finishedUtc: Date | null;
  rowsErased: bigint;
}

const listedAtMost = 1000;

/** The newest first. */
export async function listErasures(pool: Pool, tenantId: string): Promise<Erasure[]> {
  return readTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<Erasure>(
      `SELECT erasure_id AS "erasureId", kind, share_id AS "shareId", erased_tenant_id AS "erasedTenantId", requested_by AS "requestedBy",
         requested_utc AS "requestedUtc", finished_utc AS "finishedUtc", rows_erased AS "rowsErased"
       FROM erasure WHERE tenant_id = $1 ORDER BY erasure_id DESC LIMIT $2`,
      [tenantId, listedAtMost],
    );
    return rows;
  });
}

/** Goes on with what the tenant asked for until it is done or `signal` aborts; the background jobs do the rest. */
export async function eraseNow(pool: Pool, tenantId: string, signal: AbortSignal): Promise<void> {
  const client = await pool.connect().catch((error) => {
    throw toDomainError(error);
  });
  let broken = true;
  try {
    await continueErasures({ client, tenantId, signal });
    broken = false;
  } catch (error) {
    throw toDomainError(error);
  } finally {
    client.release(broken);
  }
}
