/** What a server counts and measures of itself, for Prometheus. Each server has a registry of its own: tests run several. */
import type { Pool } from "pg";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { TenantPool } from "../db/tenant-pool.js";
import { IngestMetrics } from "./ingest-metrics.js";
import { TierMetrics } from "./tier-metrics.js";

/** From a look-up to a merge of a large segment. */
const secondsBuckets = [0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300];

/** No label holds a key, a path or the name of a person; docs/operations.md has the list, and a test compares. */
export class Metrics {
  readonly registry = new Registry();
  readonly calls = new Counter({
    name: "frostline_calls_total",
    help: "Calls that have ended, by method and gRPC status.",
    labelNames: ["method", "code"] as const,
    registers: [this.registry],
  });
  readonly callSeconds = new Histogram({
    name: "frostline_call_seconds",
    help: "Time from a call's arrival to its end; of a stream, as long as it was open.",
    labelNames: ["method"] as const,
    buckets: secondsBuckets,
    registers: [this.registry],
  });
  readonly openCalls = new Gauge({
    name: "frostline_open_calls",
    help: "Calls under way, streams among them, by method.",
    labelNames: ["method"] as const,
    registers: [this.registry],
  });
  readonly refused = new Counter({
    name: "frostline_refused_calls_total",
    help: "Calls refused for want of a valid key, certificate or scope, by reason.",
    labelNames: ["reason"] as const,
    registers: [this.registry],
  });
  readonly limited = new Counter({
    name: "frostline_limited_calls_total",
    help: "Calls refused before they began, because a limit was met, by reason and by whose limit it was.",
    labelNames: ["reason", "of"] as const,
    registers: [this.registry],
  });
  readonly issuerKeyReads = new Counter({
    name: "frostline_issuer_key_reads_total",
    help: "Attempts to read the token issuer's keys, by outcome.",
    labelNames: ["outcome"] as const,
    registers: [this.registry],
  });
  readonly mergeSeconds = new Histogram({
    name: "frostline_merge_seconds",
    help: "Time that a transaction of a scan or an audit batch had its connection, by outcome.",
    labelNames: ["outcome"] as const,
    buckets: secondsBuckets,
    registers: [this.registry],
  });
  readonly ingest = new IngestMetrics(this.registry);
  readonly tier = new TierMetrics(this.registry);
  readonly mergeWaiting = new Gauge({
    name: "frostline_merge_waiting",
    help: "Transactions of scans and audit batches that wait for a connection.",
    registers: [this.registry],
  });
  readonly #jobSeconds = new Histogram({
    name: "frostline_job_seconds",
    help: "Duration of this server's runs of background jobs, by job and outcome.",
    labelNames: ["job", "outcome"] as const,
    buckets: secondsBuckets,
    registers: [this.registry],
  });
  readonly #jobRows = new Counter({
    name: "frostline_job_rows_total",
    help: "Rows that this server's runs of background jobs removed or brought on.",
    labelNames: ["job"] as const,
    registers: [this.registry],
  });
  readonly readFailures = new Counter({
    name: "frostline_metrics_read_failures_total",
    help: "Attempts to read figures of shares and volumes, or of jobs, out of the database that failed; those are absent then.",
    registers: [this.registry],
  });

  readonly #readers: (() => Promise<void>)[] = [];
  #reading: Promise<{ contentType: string; text: string }> | undefined;

  constructor() {
    // CPU, memory, garbage collection, and the delay of the event loop.
    collectDefaultMetrics({ register: this.registry });
  }

  /** A run of a background job has ended. */
  jobRun(job: string, outcome: "DONE" | "FAILED" | "INTERRUPTED", seconds: number, rows: number): void {
    this.#jobSeconds.observe({ job, outcome: outcome.toLowerCase() }, seconds);
    this.#jobRows.inc({ job }, rows);
  }

  /** A gauge that is read when it is scraped. */
  gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(read());
      },
    });
  }

  /** Connections of the pools. */
  pools(pools: Record<string, Pool>): void {
    new Gauge({
      name: "frostline_pool_connections",
      help: "Connections to PostgreSQL by pool, in use or idle; waiting: callers that have none yet.",
      labelNames: ["pool", "state"] as const,
      registers: [this.registry],
      collect() {
        for (const [name, pool] of Object.entries(pools)) {
          this.set({ pool: name, state: "idle" }, pool.idleCount);
          this.set({ pool: name, state: "in_use" }, pool.totalCount - pool.idleCount);
          this.set({ pool: name, state: "waiting" }, pool instanceof TenantPool ? pool.waitingCalls : pool.waitingCount);
        }
      },
    });
  }

  /** `read` fills gauges; it must not reject. */
  beforeScrape(read: () => Promise<void>): void {
    this.#readers.push(read);
  }

  /** All of it, in Prometheus' text format. Whoever asks while it is being read is told the same: thousands may ask in one packet. */
  read(): Promise<{ contentType: string; text: string }> {
    this.#reading ??= this.#readNow().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readNow(): Promise<{ contentType: string; text: string }> {
    await Promise.all(this.#readers.map((read) => read()));
    return { contentType: this.registry.contentType, text: await this.registry.metrics() };
  }
}
