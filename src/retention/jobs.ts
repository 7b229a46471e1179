/** What the jobs of retention have removed, for who asks. */
import type { ClientBase } from "pg";

export type Job = "history" | "audit_log" | "ledger" | "problems" | "warming" | "webhooks" | "missing_files";

export interface JobState {
  job: Job;
  lastRunUtc: Date;
  lastRemoved: bigint;
  totalRemoved: bigint;
}

/** A run begins. Within a transaction of the tenant. */
export async function beginJob(client: ClientBase, tenantId: string, job: Job): Promise<void> {
  await client.query(
    `INSERT INTO retention_job (tenant_id, job, last_run_utc, last_removed, total_removed) VALUES ($1, $2, now(), 0, 0)
     ON CONFLICT (tenant_id, job) DO UPDATE SET last_run_utc = now(), last_removed = 0`,
    [tenantId, job],
  );
}

/** In the transaction that removed them. */
export async function countRemoved(client: ClientBase, tenantId: string, job: Job, rows: bigint): Promise<void> {
  await client.query(
    "UPDATE retention_job SET last_removed = last_removed + $3, total_removed = total_removed + $3 WHERE tenant_id = $1 AND job = $2",
    [tenantId, job, rows],
  );
}

/** Of the jobs that ever ran. Within a transaction of the tenant. */
export async function listJobs(client: ClientBase, tenantId: string): Promise<JobState[]> {
  const { rows } = await client.query<JobState>(
    `SELECT job, last_run_utc AS "lastRunUtc", last_removed AS "lastRemoved", total_removed AS "totalRemoved" FROM retention_job
     WHERE tenant_id = $1 ORDER BY job`,
    [tenantId],
  );
  return rows;
}

/** Rows that the runs which began at `since`, a timestamp as text, or later have removed. Within a transaction of the tenant. */
export async function removedSince(client: ClientBase, tenantId: string, since: string): Promise<number> {
  const { rows } = await client.query<{ removed: number }>(
    "SELECT coalesce(sum(last_removed), 0)::float8 AS removed FROM retention_job WHERE tenant_id = $1 AND last_run_utc >= $2",
    [tenantId, since],
  );
  return rows[0]?.removed ?? 0;
}
