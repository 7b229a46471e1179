/** Background jobs, run by a test. */
import type { Pool } from "pg";
import { createLogger } from "../../src/log.js";
import type { Done } from "../../src/maintenance/job.js";
import { jobs } from "../../src/maintenance/jobs.js";
import { runJob } from "../../src/maintenance/run.js";
import { newReconciled } from "../../src/tier/reconcile.js";

export interface MaintenanceResult extends Done {
  /** False when another server is at it. */
  ran: boolean;
}

/** Runs each job once, as a server to which all are due. Throws what the first one that failed threw. */
export async function runMaintenance(options: { pool: Pool; auditKeepDays: number; signal: AbortSignal }): Promise<MaintenanceResult> {
  const result: MaintenanceResult = {
    ran: false,
    partitionsMade: [],
    partitionsDropped: [],
    erasuresFinished: 0,
    eventsPruned: 0,
    waitingPruned: 0,
    tier: newReconciled(),
    rowsRemoved: 0,
  };
  const runner = { ...options, server: "test", intervalMs: 0, log: createLogger("silent"), onRun: () => {} };
  for (const job of jobs) {
    const run = await runJob(runner, job);
    if (run === undefined) continue;
    if ("error" in run) throw run.error;
    result.ran = true;
    Object.assign(result, run.done);
  }
  return result;
}
