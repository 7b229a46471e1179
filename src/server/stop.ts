/** Takes a running server apart, in named phases with deadlines. */
import { setMaxListeners } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import type { Config } from "../config.js";
import type { Pools } from "../db/pool.js";
import { DomainError } from "../errors.js";
import type { Health } from "../health/health.js";
import type { Logger } from "../log.js";
import { toConnectError } from "../rpc/errors.js";
import type { WarmingFeed } from "../warming/feed.js";
import type { Database } from "./database.js";
import { runPhase } from "./phases.js";
import type { Listeners } from "./serve.js";
import type { TlsReloader } from "./tls.js";

/** On top of the delay that is asked for. */
const healthMs = 1_000;
/** From the abort of what is left to the end of its connections. */
const abortMs = 2_000;
/** Its calls have been aborted by then. */
const httpPortMs = 2_000;
/** A background job's transaction, once it is told to end. */
const maintenanceMs = 10_000;
/** The end of one idle connection. */
const feedMs = 2_000;
/** Longer than requests under way are waited for, and the record of what came of them. */
const webhooksMs = 8_000;
const poolsMs = 10_000;
/** Longer than the database's own deadlines. */
const databaseMs = 60_000;

/** The two signals of a stopping server. */
export class Stop {
  readonly drain = new AbortController();
  readonly abort = new AbortController();

  constructor() {
    // Every open stream listens.
    setMaxListeners(0, this.drain.signal, this.abort.signal);
  }
}

/** All that a server has running. */
export interface Running extends Listeners {
  config: Config;
  log: Logger;
  stop: Stop;
  tls: TlsReloader | undefined;
  health: Health;
  maintenance: Promise<void>;
  /** Ends once no request to a webhook is under way. */
  sending: Promise<void>;
  warmingFeed: WarmingFeed;
  pools: Pools;
  database: Database;
}

/** Drains, then stops everything. Never throws: what fails or is late is logged, and the next phase begins. */
export async function stopServer(running: Running): Promise<void> {
  const { config, log, stop, tls, health, http, httpPort, maintenance, sending, warmingFeed, pools, database } = running;
  await runPhase(log, "health", config.stopDelayMs + healthMs, async () => {
    health.stop();
    await delay(config.stopDelayMs);
  });
  const drained = http.drain();
  stop.drain.abort();
  tls?.close();
  const inTime = await runPhase(log, "drain", config.drainMs, () => drained);
  stop.abort.abort(toConnectError(new DomainError("UNAVAILABLE", "The server is stopping. Try again.", { reason: "SERVER_STOPPING" })));
  if (!inTime) await runPhase(log, "abort", abortMs, () => drained);
  http.destroy();
  // Until here its probes told why.
  await runPhase(log, "http port", httpPortMs, () => httpPort?.drain());
  httpPort?.destroy();
  await runPhase(log, "background jobs", maintenanceMs, () => maintenance);
  await runPhase(log, "webhooks", webhooksMs, () => sending);
  await runPhase(log, "warming feed", feedMs, () => warmingFeed.close());
  await runPhase(log, "health connection", feedMs, () => health.close());
  await runPhase(log, "pools", poolsMs, () => pools.end());
  await runPhase(log, "database", databaseMs, () => database.stop());
}
