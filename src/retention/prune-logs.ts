/** What is kept for a number of days and then forgotten: audit log, ledger, problems of scans, warming events. */
import { pruneDeliveries } from "../webhooks/prune.js";
import type { Bounds } from "./bounds.js";
import { beginJob, countRemoved, type Job } from "./jobs.js";
import { step, type Worker } from "./step.js";

/** Rows of a transaction. */
const batchRows = 20_000;
/** Of 8 KiB, of each month of the audit log: some 50,000 rows of one. */
const batchPages = 512;

/** Goes on with `work`, a transaction each, until it returns undefined; what it returns was removed. */
async function inBatches(worker: Worker, job: Job, work: () => Promise<bigint | undefined>): Promise<boolean> {
  while (!worker.signal.aborted) {
    const removed = await step(worker, async () => {
      const rows = await work();
      if (rows !== undefined) await countRemoved(worker.client, worker.tenantId, job, rows);
      return rows;
    });
    if (removed === undefined) return true;
  }
  return false;
}

async function removedRows({ client }: Worker, text: string, values: unknown[]): Promise<bigint | undefined> {
  const { rows } = await client.query<{ removed: bigint | null }>(text, values);
  return rows[0]?.removed ?? undefined;
}

/** Whole months (UTC) that were over before the bound, each gone through once. */
export async function pruneAuditLog(worker: Worker, { auditLogDays }: Bounds, pagesAtOnce = batchPages): Promise<void> {
  const { client, tenantId } = worker;
  const range = await step(worker, async () => {
    await beginJob(client, tenantId, "audit_log");
    const { rows } = await client.query<{ from: string; before: string; due: boolean }>(
      `SELECT done_to::text AS from, before::text AS before, before > done_to AS due FROM (
         SELECT coalesce(done_to_utc, '-infinity') AS done_to, date_trunc('month', now() - make_interval(days => $2), 'UTC') AS before
         FROM retention_job WHERE tenant_id = $1 AND job = 'audit_log'
       ) j`,
      [tenantId, auditLogDays],
    );
    return rows[0];
  });
  if (range?.due !== true) return;
  let page = 0;
  const done = await inBatches(worker, "audit_log", () => {
    const values = [tenantId, range.from, range.before, page, pagesAtOnce];
    page += pagesAtOnce;
    return removedRows(worker, "SELECT prune_audit_log($1, $2, $3, $4, $5) AS removed", values);
  });
  if (!done) return;
  await step(worker, () =>
    client.query("UPDATE retention_job SET done_to_utc = $2 WHERE tenant_id = $1 AND job = 'audit_log'", [tenantId, range.before]),
  );
}

/** Ledger rows and problems of scans that ended before their bounds. The scan says that they are gone. */
export async function pruneScans(worker: Worker, { ledgerDays, problemDays }: Bounds): Promise<void> {
  const { client, tenantId } = worker;
  await step(worker, async () => {
    await beginJob(client, tenantId, "ledger");
    await beginJob(client, tenantId, "problems");
  });
  for (const { scan_id: scanId } of await endedScans(worker, "ledger", ledgerDays)) {
    await step(worker, () =>
      client.query("UPDATE scan SET ledger_pruned_utc = now() WHERE tenant_id = $1 AND scan_id = $2", [tenantId, scanId]),
    );
    await inBatches(worker, "ledger", () => pruneScan(worker, scanId, false));
  }
  for (const { scan_id: scanId } of await endedScans(worker, "problems", problemDays)) {
    await step(worker, () =>
      client.query("UPDATE scan SET problems_pruned_utc = now() WHERE tenant_id = $1 AND scan_id = $2", [tenantId, scanId]),
    );
    await inBatches(worker, "problems", () => pruneScan(worker, scanId, true));
  }
}

/** A scan that was marked and still has rows was broken off: it comes again. */
async function endedScans(worker: Worker, what: "ledger" | "problems", days: number): Promise<{ scan_id: bigint }[]> {
  const { rows } = await step(worker, () =>
    worker.client.query<{ scan_id: bigint }>(
      `SELECT scan_id FROM scan s WHERE s.tenant_id = $1 AND s.finished_utc < now() - make_interval(days => $2) AND CASE $3
         WHEN 'ledger' THEN EXISTS (SELECT FROM ingest_chunk c WHERE c.tenant_id = $1 AND c.scan_id = s.scan_id)
         ELSE EXISTS (SELECT FROM scan_problem p WHERE p.tenant_id = $1 AND p.scan_id = s.scan_id) END
       ORDER BY scan_id`,
      [worker.tenantId, days, what],
    ),
  );
  return rows;
}

async function pruneScan(worker: Worker, scanId: bigint, problems: boolean): Promise<bigint | undefined> {
  const values = [worker.tenantId, scanId, problems, batchRows];
  return (await removedRows(worker, "SELECT prune_scan_rows($1, $2, $3, $4) AS removed", values)) || undefined;
}

/** The oldest positions first; `warming_position` says how far. */
export async function pruneWarming(worker: Worker, { warmingDays }: Bounds): Promise<void> {
  await step(worker, () => beginJob(worker.client, worker.tenantId, "warming"));
  await inBatches(worker, "warming", async () => {
    const values = [worker.tenantId, warmingDays, batchRows];
    return (await removedRows(worker, "SELECT prune_warming($1, now() - make_interval(days => $2), $3) AS removed", values)) || undefined;
  });
}

/** Deliveries of webhooks, once they are long done. Their bounds are everybody's. */
export async function pruneWebhooks(worker: Worker): Promise<void> {
  await step(worker, () => beginJob(worker.client, worker.tenantId, "webhooks"));
  await inBatches(worker, "webhooks", async () => BigInt(await pruneDeliveries(worker.client, worker.tenantId, batchRows)) || undefined);
}
