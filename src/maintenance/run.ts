/** Background jobs: each at its time, on one server at a time (docs/adr/0033, 0045). */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Pool, PoolClient } from "pg";
import { toDomainError } from "../db/errors.js";
import { errorText, type Logger } from "../log.js";
import { inSpan } from "../tracing.js";
import { cleanUp } from "./for-each-tenant.js";
import { type Done, type Job, rowsOf } from "./job.js";
import { beginRun, dueJobs, type Ended, endRun, lockJobs, type Runner, unlockJobs } from "./job-runs.js";
import { jobs } from "./jobs.js";

/** Between two looks at what is due: as long may a run that was asked for have to wait. */
const lookMs = 10_000;

export interface MaintenanceOptions extends Runner {
  pool: Pool;
  log: Logger;
  /** So long a processed audit event is remembered. */
  auditKeepDays: number;
  /** Ends it: what is under way comes to the end of its transaction. */
  signal: AbortSignal;
  /** Told of each run of this server's. */
  onRun(job: string, outcome: Ended["outcome"], seconds: number, rows: number): void;
}

/** Runs what is due again and again until `signal` aborts; resolves then. What fails is logged, and tried again later. */
export async function maintain(options: MaintenanceOptions): Promise<void> {
  const { pool, log, intervalMs, signal } = options;
  while (!signal.aborted) {
    try {
      const names = jobs.map(({ name }) => name);
      for (const due of await dueJobs(pool, names, options)) {
        const job = jobs.find(({ name }) => name === due) as Job;
        // Another server is at it: it does the others, too.
        if (signal.aborted || (await runJob(options, job)) === undefined) break;
      }
    } catch (error) {
      log.error({ err: error }, "what background jobs are due could not be found out, or recorded; the next look tries again");
    }
    await delay(Math.min(intervalMs, lookMs), undefined, { signal }).catch((error) => {
      if (!signal.aborted) throw error;
    });
  }
}

export type Attempt = { done: Partial<Done> } | { error: unknown };

/** Undefined when it is not due, or another server is at it. Throws a DomainError when the run cannot be recorded. */
export async function runJob(options: MaintenanceOptions, job: Job): Promise<Attempt | undefined> {
  const runId = randomUUID();
  const startMs = performance.now();
  const attempt = await runLocked(options, job, runId);
  if (attempt === undefined) return undefined;
  const seconds = Math.round(performance.now() - startMs) / 1000;
  const ended = outcomeOf(attempt, options.signal);
  options.onRun(job.name, ended.outcome, seconds, ended.outcome === "FAILED" ? 0 : ended.rows);
  const run = { job: job.name, runId, seconds };
  if ("error" in attempt) options.log.error({ ...run, err: attempt.error }, "a background job failed; it will be tried again");
  else options.log.debug({ ...run, ...attempt.done }, "a background job is done");
  return attempt;
}

/** On a connection that holds the lock until the run is recorded. */
async function runLocked(options: MaintenanceOptions, job: Job, runId: string): Promise<Attempt | undefined> {
  const { pool, signal } = options;
  const client = await pool.connect().catch((error) => {
    throw toDomainError(error);
  });
  const record = (by: PoolClient | Pool, attempt: Attempt) => endRun(by, job.name, runId, options, outcomeOf(attempt, signal));
  let usable = false;
  let attempt: Attempt | undefined;
  try {
    if (await lockJobs(client)) {
      if (await beginRun(client, job.name, runId, options)) {
        attempt = await tryJob(options, job, runId, client);
        await record(client, attempt);
      }
      await unlockJobs(client);
    }
    usable = true;
  } catch (error) {
    if (attempt === undefined) throw toDomainError(error);
  } finally {
    client.release(!usable);
  }
  // The connection was lost, and the lock with it.
  if (attempt !== undefined && !usable) await record(pool, attempt);
  return attempt;
}

/** Never throws. Afterwards the connection is outside of a transaction, or lost. */
async function tryJob({ auditKeepDays, signal }: MaintenanceOptions, job: Job, runId: string, client: PoolClient): Promise<Attempt> {
  try {
    const attributes = { "frostline.job": job.name, "frostline.job.run_id": runId };
    return { done: await inSpan("frostline.job", attributes, () => job.run({ client, auditKeepDays, signal })) };
  } catch (error) {
    await cleanUp(client);
    return { error };
  }
}

function outcomeOf(attempt: Attempt, signal: AbortSignal): Ended {
  if ("error" in attempt) return { outcome: "FAILED", error: errorText(attempt.error) };
  return { outcome: signal.aborted ? "INTERRUPTED" : "DONE", rows: rowsOf(attempt.done) };
}
