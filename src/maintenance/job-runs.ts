/** The runs of background jobs, as all servers and their operators see them. */
import type { ClientBase, Pool } from "pg";
import { DomainError } from "../errors.js";

export type JobState = "NEVER_RUN" | "RUNNING" | "DONE" | "FAILED" | "INTERRUPTED";

export interface JobRun {
  job: string;
  state: JobState;
  /** Null, as what follows, before the first run. */
  runId: string | null;
  server: string | null;
  startedUtc: Date | null;
  endedUtc: Date | null;
  /** Of a run that failed. Names no path and no person. */
  error: string | null;
  rowsDone: bigint;
  succeededUtc: Date | null;
  failuresInRow: number;
  nextDueUtc: Date | null;
}

/** Who runs a job, and when it is due again. */
export interface Runner {
  server: string;
  /** From the end of a run to the next. */
  intervalMs: number;
}

export type Ended = { outcome: "DONE" | "INTERRUPTED"; rows: number } | { outcome: "FAILED"; error: string };

/** After a first failure; twice as long after each further one, up to the interval. */
const retryMs = 30_000;

/** Held by who runs jobs, for as long as its connection lives. */
const lockKey = "hashtextextended('maintenance', 0)";

/** Of a row of background_job: it is to be run. $2 is the interval in ms: an interval that was shortened counts from the last run. */
const isDue = "(b.next_due_utc <= now() OR (b.outcome = 'DONE' AND b.ended_utc + $2 * interval '1 ms' <= now()))";

/** Those of `names` that are due, in that order. */
export async function dueJobs(pool: Pool, names: readonly string[], { intervalMs }: Runner): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `SELECT j.name FROM unnest($1::text[]) WITH ORDINALITY AS j (name, place) LEFT JOIN background_job b ON b.job = j.name
     WHERE b.job IS NULL OR ${isDue} ORDER BY j.place`,
    [names, intervalMs],
  );
  return rows.map(({ name }) => name);
}

/** A lock of the connection: it goes with it, whatever becomes of this process. False while another server works. */
export async function lockJobs(client: ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ locked: boolean }>(`SELECT pg_try_advisory_lock(${lockKey}) AS locked`);
  return rows[0]?.locked ?? false;
}

export async function unlockJobs(client: ClientBase): Promise<void> {
  await client.query(`SELECT pg_advisory_unlock(${lockKey})`);
}

/**
 * Under the lock. False when it is not due: another server has run it meanwhile. A run that ended without a word was
 * a failure: were it this job that brings servers down, they would have time between two falls.
 */
export async function beginRun(client: ClientBase, job: string, runId: string, runner: Runner): Promise<boolean> {
  const { rowCount } = await client.query(
    `INSERT INTO background_job AS b (job, run_id, server, started_utc, next_due_utc)
     VALUES ($1, $3, $4, now(), now() + least($2::float8, $5) * interval '1 ms')
     ON CONFLICT (job) DO UPDATE SET run_id = $3, server = $4, started_utc = now(), ended_utc = NULL, outcome = NULL, error = NULL, rows_done = 0,
       failures_in_row = b.failures_in_row + CASE WHEN b.ended_utc IS NULL THEN 1 ELSE 0 END,
       next_due_utc = now() + least($2::float8, $5 * 2 ^ least(b.failures_in_row, 20)) * interval '1 ms'
     WHERE ${isDue}`,
    [job, runner.intervalMs, runId, runner.server, retryMs],
  );
  return rowCount === 1;
}

/** Nothing when another run has begun since. One that was asked for meanwhile is due at once (see requestRun). Returns how often it has failed in a row. */
export async function endRun(client: ClientBase | Pool, job: string, runId: string, { intervalMs }: Runner, ended: Ended): Promise<number> {
  const failed = ended.outcome === "FAILED";
  const { rows } = await client.query<{ failures: number }>(
    `UPDATE background_job SET ended_utc = now(), outcome = $3, error = $4, rows_done = $5,
       succeeded_utc = CASE WHEN $3 = 'DONE' THEN now() ELSE succeeded_utc END,
       failures_in_row = CASE $3 WHEN 'DONE' THEN 0 WHEN 'FAILED' THEN failures_in_row + 1 ELSE failures_in_row END,
       next_due_utc = now() + interval '1 ms' * CASE WHEN next_due_utc <= started_utc THEN 0 ELSE CASE $3
         WHEN 'DONE' THEN $6::float8 WHEN 'FAILED' THEN least($6::float8, $7 * 2 ^ least(failures_in_row, 20)) ELSE 0 END END
     WHERE job = $1 AND run_id = $2 RETURNING failures_in_row AS failures`,
    [job, runId, ended.outcome, failed ? ended.error : null, failed ? 0 : ended.rows, intervalMs, retryMs],
  );
  return rows[0]?.failures ?? 0;
}

/** Each of `names`, in that order. A run whose server is gone is INTERRUPTED. */
export async function listRuns(pool: Pool, names: readonly string[]): Promise<JobRun[]> {
  const { rows } = await pool.query<JobRun>(
    `SELECT j.name AS job, b.run_id AS "runId", b.server, b.started_utc AS "startedUtc", b.ended_utc AS "endedUtc", b.error,
       coalesce(b.rows_done, 0) AS "rowsDone", b.succeeded_utc AS "succeededUtc", coalesce(b.failures_in_row, 0) AS "failuresInRow",
       b.next_due_utc AS "nextDueUtc",
       CASE WHEN b.job IS NULL THEN 'NEVER_RUN' WHEN b.outcome IS NOT NULL THEN b.outcome WHEN l.held THEN 'RUNNING' ELSE 'INTERRUPTED' END AS state
     FROM unnest($1::text[]) WITH ORDINALITY AS j (name, place) LEFT JOIN background_job b ON b.job = j.name
     CROSS JOIN (SELECT EXISTS (
       SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
         AND classid::bigint << 32 | objid::bigint = ${lockKey} AND granted
     ) AS held) l
     ORDER BY j.place`,
    [names],
  );
  return rows;
}

/**
 * Has it run as soon as a server looks; while it runs, once more afterwards: what it has been through already may be what is meant. Throws
 * NOT_FOUND.
 */
export async function requestRun(pool: Pool, names: readonly string[], job: string): Promise<void> {
  if (!names.includes(job)) {
    throw new DomainError("NOT_FOUND", `There is no background job ${JSON.stringify(job)}. There are: ${names.join(", ")}.`, {
      reason: "JOB_NOT_FOUND",
    });
  }
  // One that has never run is due in any case. Of one that runs, its begin: no run sets that itself, and its end looks for it.
  await pool.query(
    `UPDATE background_job SET next_due_utc = CASE WHEN ended_utc IS NULL THEN started_utc ELSE now() END
     WHERE job = $1 AND (next_due_utc > now() OR (ended_utc IS NULL AND next_due_utc > started_utc))`,
    [job],
  );
}
