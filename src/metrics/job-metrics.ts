/** How the background jobs of the installation fare, whichever server ran them: read when it is scraped. */
import type { Pool } from "pg";
import { Gauge } from "prom-client";
import type { Logger } from "../log.js";
import { listRuns } from "../maintenance/job-runs.js";
import { jobNames } from "../maintenance/jobs.js";
import type { Metrics } from "./metrics.js";

/** Registers the gauges. */
export function addJobMetrics(metrics: Metrics, pool: Pool, log: Logger): void {
  const job = { labelNames: ["job"] as const, registers: [metrics.registry] };
  const age = new Gauge({
    name: "frostline_job_success_age_seconds",
    help: "Time since a background job was last done, on any server; absent before that.",
    ...job,
  });
  const failures = new Gauge({
    name: "frostline_job_failures_in_row",
    help: "How often a background job has failed since it was last done, on any server.",
    ...job,
  });
  metrics.beforeScrape(async () => {
    age.reset();
    failures.reset();
    try {
      for (const run of await listRuns(pool, jobNames)) {
        failures.set({ job: run.job }, run.failuresInRow);
        if (run.succeededUtc !== null) age.set({ job: run.job }, (Date.now() - run.succeededUtc.getTime()) / 1000);
      }
    } catch (error) {
      metrics.readFailures.inc();
      log.warn({ err: error }, "metrics of background jobs could not be read");
    }
  });
}
