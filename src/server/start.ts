/** Composes a server of its parts, and takes it apart again in order. */
import { setMaxListeners } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import type { Config } from "../config.js";
import { createPools, type Pools } from "../db/pool.js";
import { assertRuntimeRole } from "../db/roles.js";
import { DomainError } from "../errors.js";
import { Health } from "../health/health.js";
import type { Logger } from "../log.js";
import { maintain } from "../maintenance/run.js";
import type { ServerDeps } from "../rpc/context.js";
import { toConnectError } from "../rpc/errors.js";
import { registerServices } from "../rpc/routes.js";
import { ensureLocalKeys, type LocalKeys } from "../tenancy/local-keys.js";
import { WarmingFeed } from "../warming/feed.js";
import { createRequestHandler } from "./adapter.js";
import { authentication } from "./authenticate.js";
import { type Database, openDatabase } from "./database.js";
import { guard } from "./guard.js";
import { type HttpServer, listen } from "./http.js";
import { runPhase } from "./phases.js";
import { type TlsReloader, watchTls } from "./tls.js";

/** On top of the delay that is asked for. */
const healthMs = 1_000;
/** From the abort of what is left to the end of its connections. */
const abortMs = 2_000;
/** A background job's transaction, once it is told to end. */
const maintenanceMs = 10_000;
/** The end of one idle connection. */
const feedMs = 2_000;
const poolsMs = 10_000;
/** Longer than the database's own deadlines. */
const databaseMs = 60_000;

export interface RunningServer {
  /** As clients name it: host:port, with `https://` before it when the server has TLS. */
  address: string;
  /** Those of the embedded database's tenant, as in keys.json; undefined on a database of your own. */
  keys: LocalKeys | undefined;
  /** Aborts, with the error as its reason, when the server cannot go on: close it and exit. */
  failed: AbortSignal;
  /** Calls whose stream is still open. */
  openCalls(): number;
  /** Looks at the certificate files now; nothing without TLS. Never throws. */
  reloadTls(): Promise<void>;
  /** Drains, then stops everything. A second call returns the first one's promise. */
  close(): Promise<void>;
}

/** Starts the database if it is embedded, checks the role, and listens. Throws errors that say what to do. */
export async function startServer({ config, log }: { config: Config; log: Logger }): Promise<RunningServer> {
  const failure = new AbortController();
  // Before the database: what is wrong with the files is known at once.
  const tls = config.tls === undefined ? undefined : await watchTls(config.tls, log);
  const database = await openDatabase(config, log, (error) => failure.abort(error)).catch((error: unknown) => {
    tls?.close();
    throw error;
  });
  const pools = createPools(database.url, {
    queryPoolMax: config.queryPoolMax,
    ingestPoolMax: config.ingestPoolMax,
    onIdleError: (error) => log.warn({ err: error }, "an idle database connection broke"),
  });
  const warmingFeed = new WarmingFeed({ connection: pools.listener, log });
  const health = new Health(pools.listener, log);
  let http: HttpServer | undefined;
  try {
    await assertRuntimeRole(pools.query);
    const stop = new Stop();
    const deps: ServerDeps = {
      pool: pools.query,
      ingestPool: pools.ingest,
      warmingFeed,
      health,
      config,
      log,
      drainSignal: stop.drain.signal,
      shutdownSignal: stop.abort.signal,
    };
    const listening = await serve(deps, tls);
    http = listening;
    const keys = database.embedded ? (await ensureLocalKeys(pools.query, config.dataDir, listening.address)).keys : undefined;
    log.info({ address: listening.address, embedded: database.embedded }, "listening");
    const maintenance = maintain({
      pool: pools.query,
      log,
      intervalMs: config.maintenanceIntervalMs,
      auditKeepDays: config.auditKeepDays,
      signal: stop.drain.signal,
    });
    let closed: Promise<void> | undefined;
    const close = () => {
      closed ??= closeAll({ config, log, stop, tls, health, http: listening, maintenance, warmingFeed, pools, database });
      return closed;
    };
    const reloadTls = async () => tls?.reload();
    return { address: listening.address, keys, failed: failure.signal, openCalls: listening.openCalls, reloadTls, close };
  } catch (error) {
    tls?.close();
    http?.destroy();
    await health.close();
    await warmingFeed.close();
    await pools.end();
    await database.stop();
    throw error;
  }
}

/** The two signals of a stopping server. */
class Stop {
  readonly drain = new AbortController();
  readonly abort = new AbortController();

  constructor() {
    // Every open stream listens.
    setMaxListeners(0, this.drain.signal, this.abort.signal);
  }
}

function serve(deps: ServerDeps, tls: TlsReloader | undefined): Promise<HttpServer> {
  const { config, log } = deps;
  const handle = createRequestHandler({
    routes: (router) => registerServices(router, deps),
    interceptors: [guard(log), authentication(deps.pool, log)],
    shutdownSignal: deps.shutdownSignal,
    log,
    clientCertificates: config.tls?.clientCa !== undefined,
  });
  const times = { keepaliveMs: config.keepaliveMs, maxAgeMs: config.connectionMaxAgeMs };
  return listen({ address: config.listen, handle, tls, times, log });
}

interface Running {
  config: Config;
  log: Logger;
  stop: Stop;
  tls: TlsReloader | undefined;
  health: Health;
  http: HttpServer;
  maintenance: Promise<void>;
  warmingFeed: WarmingFeed;
  pools: Pools;
  database: Database;
}

async function closeAll({ config, log, stop, tls, health, http, maintenance, warmingFeed, pools, database }: Running): Promise<void> {
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
  await runPhase(log, "background jobs", maintenanceMs, () => maintenance);
  await runPhase(log, "warming feed", feedMs, () => warmingFeed.close());
  await runPhase(log, "health connection", feedMs, () => health.close());
  await runPhase(log, "pools", poolsMs, () => pools.end());
  await runPhase(log, "database", databaseMs, () => database.stop());
}
