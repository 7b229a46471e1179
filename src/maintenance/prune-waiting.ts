/** Accesses of paths where no file has come to light are kept for a time, then forgotten. */
import type { ClientBase } from "pg";
import { beginFor } from "../db/tenant.js";

const batchRows = 20_000;

/** Forgets a tenant's accesses that have waited for more than `keepDays`, a transaction for each batch. Returns how many. */
export async function pruneWaiting(client: ClientBase, tenantId: string, keepDays: number, signal: AbortSignal): Promise<number> {
  let total = 0;
  while (!signal.aborted) {
    await client.query(beginFor(tenantId));
    const { rowCount } = await client.query(
      // By their place in the table: a join with itself compared each with each as long as there were no statistics.
      `DELETE FROM audit_waiting WHERE tenant_id = $1 AND ctid = ANY (ARRAY(
         SELECT ctid FROM audit_waiting WHERE tenant_id = $1 AND recorded_utc < now() - make_interval(days => $2) ORDER BY recorded_utc LIMIT $3))`,
      [tenantId, keepDays, batchRows],
    );
    await client.query("COMMIT");
    total += rowCount ?? 0;
    if ((rowCount ?? 0) < batchRows) break;
  }
  return total;
}
