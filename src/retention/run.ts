/** Retention of a tenant: history, then everything that has a bound of its own. */
import type { ClientBase } from "pg";
import { readBounds } from "./bounds.js";
import { pruneAuditLog, pruneScans, pruneWarming } from "./prune-logs.js";
import { pruneMissing } from "./prune-missing.js";
import { purgeHistory } from "./purge-history.js";
import { step } from "./step.js";

/** Between two batches an abort of `signal` ends it; the next run goes on. After an error the connection is not to be used any more. */
export async function applyRetention(client: ClientBase, tenantId: string, signal: AbortSignal): Promise<void> {
  const worker = { client, tenantId, signal };
  const bounds = await step(worker, () => readBounds(client, tenantId));
  await purgeHistory(worker);
  await pruneAuditLog(worker, bounds);
  await pruneScans(worker, bounds);
  await pruneWarming(worker, bounds);
  await pruneMissing(worker, bounds);
}
