/** Retention of a tenant: history, then everything that has a bound of its own. */
import type { ClientBase } from "pg";
import { readBounds } from "./bounds.js";
import { removedSince } from "./jobs.js";
import { pruneAuditLog, pruneScans, pruneWarming, pruneWebhooks } from "./prune-logs.js";
import { pruneMissing } from "./prune-missing.js";
import { purgeHistory } from "./purge-history.js";
import { step } from "./step.js";

/** Between two batches an abort of `signal` ends it; the next run goes on. Returns the rows removed. After an error the connection is not to be used any more. */
export async function applyRetention(client: ClientBase, tenantId: string, signal: AbortSignal): Promise<number> {
  const worker = { client, tenantId, signal };
  const bounds = await step(worker, () => readBounds(client, tenantId));
  const since = await step(worker, () => databaseTime(client));
  await purgeHistory(worker);
  await pruneAuditLog(worker, bounds);
  await pruneScans(worker, bounds);
  await pruneWarming(worker, bounds);
  await pruneWebhooks(worker);
  await pruneMissing(worker, bounds);
  return step(worker, () => removedSince(client, tenantId, since));
}

/** As text: a Date would cut off the microseconds. */
async function databaseTime(client: ClientBase): Promise<string> {
  const { rows } = await client.query<{ now: string }>("SELECT now()::text AS now");
  return (rows[0] as { now: string }).now;
}
