/** Webhooks: attempts of this server, and what waits in the database, which is the same on every server. */
import type { Pool } from "pg";
import { Counter, Gauge } from "prom-client";
import type { Logger } from "../log.js";
import type { Metrics } from "./metrics.js";

const freshMs = 15_000;

/** Registers the metrics, and has the gauges read before each scrape. Returns what counts an attempt. */
export function addWebhookMetrics(metrics: Metrics, pool: Pool, log: Logger): (outcome: string) => void {
  const registers = [metrics.registry];
  const attempts = new Counter({
    name: "frostline_webhook_attempts_total",
    help: "Attempts of this server's to deliver a message to a webhook, by outcome.",
    labelNames: ["outcome"] as const,
    registers,
  });
  const pending = new Gauge({ name: "frostline_webhook_pending", help: "Messages to webhooks that wait to be delivered.", registers });
  const dead = new Gauge({
    name: "frostline_webhook_dead",
    help: "Messages to webhooks that were given up and not forgotten yet.",
    registers,
  });
  const oldest = new Gauge({
    name: "frostline_webhook_oldest_seconds",
    help: "Age of the oldest message to a webhook that waits; 0 when none does.",
    registers,
  });
  let readMs = Number.NEGATIVE_INFINITY;
  metrics.beforeScrape(async () => {
    if (performance.now() - readMs < freshMs) return;
    readMs = performance.now();
    try {
      const { rows } = await pool.query<{ pending: number; dead: number; age: number }>(
        `SELECT pending::float8, dead::float8, coalesce(extract(epoch FROM now() - oldest_utc), 0)::float8 AS age FROM webhook_backlog()`,
      );
      pending.set(rows[0]?.pending ?? 0);
      dead.set(rows[0]?.dead ?? 0);
      oldest.set(rows[0]?.age ?? 0);
    } catch (error) {
      // A scrape while the database is down must still tell that it is.
      metrics.readFailures.inc();
      log.warn({ err: error }, "metrics of webhooks could not be read");
    }
  });
  return (outcome) => attempts.inc({ outcome });
}
