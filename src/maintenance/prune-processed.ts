/** Processed audit events are remembered for a time, so that one sent twice counts once; then they are forgotten. */
import type { ClientBase } from "pg";
import { beginFor } from "../db/tenant.js";

const batchEvents = 20_000;

/**
 * Forgets a tenant's events that were processed more than `keepDays` ago and lie behind their file's cursor.
 * A transaction for each batch; between two, an abort of `signal` ends it. Returns how many.
 */
export async function pruneProcessed(client: ClientBase, tenantId: string, keepDays: number, signal: AbortSignal): Promise<number> {
  let from = "-infinity";
  let total = 0;
  while (!signal.aborted) {
    const batch = await pruneBatch(client, tenantId, keepDays, from);
    total += Number(batch.pruned);
    // A moment of which a whole batch is not behind its cursors would come again for ever.
    if (batch.seen < batchEvents || (batch.pruned === 0n && batch.until === from)) break;
    from = batch.until;
  }
  return total;
}

/** `until` is text: a Date would cut off the microseconds. */
async function pruneBatch(client: ClientBase, tenantId: string, keepDays: number, from: string) {
  await client.query(beginFor(tenantId));
  const { rows } = await client.query<{ seen: bigint; pruned: bigint; until: string }>(
    `SELECT seen, pruned, until_utc::text AS until FROM prune_audit_processed($1, $2, now() - make_interval(days => $3), $4)`,
    [tenantId, from, keepDays, batchEvents],
  );
  await client.query("COMMIT");
  return rows[0] as { seen: bigint; pruned: bigint; until: string };
}
