/** Composes a server of its parts, and takes it apart again in order. */
import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import * as os from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import type { Config } from "../config.js";
import { createPools, type Pools } from "../db/pool.js";
import { assertRuntimeRole } from "../db/roles.js";
import { DomainError } from "../errors.js";
import { Health } from "../health/health.js";
import type { Logger } from "../log.js";
import { maintain } from "../maintenance/run.js";
import { addJobMetrics } from "../metrics/job-metrics.js";
import { Metrics } from "../metrics/metrics.js";
import { addShareMetrics } from "../metrics/share-metrics.js";
import type { ServerDeps } from "../rpc/context.js";
import { toConnectError } from "../rpc/errors.js";
import { registerServices } from "../rpc/routes.js";
import { ensureLocalKeys, type LocalKeys } from "../tenancy/local-keys.js";
import { createTokens, type Tokens } from "../tenancy/tokens/tokens.js";
import { WarmingFeed } from "../warming/feed.js";
import { createRequestHandler } from "./adapter.js";
import { authentication } from "./authenticate.js";
import { type Database, openDatabase } from "./database.js";
import { guard } from "./guard.js";
import { type HttpServer, listen } from "./http.js";
import { type HttpPort, openHttpPort } from "./http-port.js";
import { runPhase } from "./phases.js";
import { type TlsReloader, watchTls } from "./tls.js";
import { openWebhooks } from "./webhooks.js";

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

export interface RunningServer {
  /** As clients name it: host:port, with `https://` before it when the server has TLS. */
  address: string;
  /** http://host:port or https://host:port of the port for probes and metrics; undefined: there is none. */
  httpUrl: string | undefined;
  /** Those of the embedded database's tenant, as in keys.json; undefined on a database of your own. */
  keys: LocalKeys | undefined;
  /** Aborts, with the error as its reason, when the server cannot go on: close it and exit. */
  failed: AbortSignal;
  /** What it measures of itself. */
  metrics: Metrics;
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
  const metrics = new Metrics();
  metrics.pools({ query: pools.query, ingest: pools.ingest });
  let listeners: Listeners | undefined;
  try {
    await assertRuntimeRole(pools.query);
    const stop = new Stop();
    const { embedded } = database;
    const webhooks = await openWebhooks({ config, embedded, pool: pools.query, feed: warmingFeed, metrics, log });
    const deps: ServerDeps = {
      pool: pools.query,
      ingestPool: pools.ingest,
      warmingFeed,
      webhooks,
      health,
      metrics,
      config,
      log,
      drainSignal: stop.drain.signal,
      shutdownSignal: stop.abort.signal,
    };
    const tokens =
      config.tokens &&
      (await createTokens({
        settings: config.tokens,
        pool: pools.query,
        log,
        onKeysRead: (outcome) => metrics.issuerKeyReads.inc({ outcome }),
      }));
    const { http, httpPort } = await serve(deps, tls, tokens);
    listeners = { http, httpPort };
    const keys = database.embedded ? (await ensureLocalKeys(pools.query, config.dataDir, http.address)).keys : undefined;
    log.info({ address: http.address, httpPort: httpPort?.url, embedded: database.embedded }, "listening");
    const maintenance = maintain({
      pool: pools.query,
      log,
      intervalMs: config.maintenanceIntervalMs,
      auditKeepDays: config.auditKeepDays,
      server: instanceName(),
      onRun: (job, outcome, seconds, rows) => metrics.jobRun(job, outcome, seconds, rows),
      signal: stop.drain.signal,
    });
    const sending = webhooks.dispatcher.run(stop.drain.signal);
    let closed: Promise<void> | undefined;
    const close = () => {
      closed ??= closeAll({ config, log, stop, tls, health, http, httpPort, maintenance, sending, warmingFeed, pools, database });
      return closed;
    };
    const reloadTls = async () => tls?.reload();
    return {
      address: http.address,
      httpUrl: httpPort?.url,
      keys,
      failed: failure.signal,
      metrics,
      openCalls: http.openCalls,
      reloadTls,
      close,
    };
  } catch (error) {
    tls?.close();
    listeners?.http.destroy();
    listeners?.httpPort?.destroy();
    await health.close();
    await warmingFeed.close();
    await pools.end();
    await database.stop();
    throw error;
  }
}

/** Of this server among all that share a database: containers often have the same process id. */
function instanceName(): string {
  return `${os.hostname()}/${process.pid}/${randomBytes(2).toString("hex")}`;
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

interface Listeners {
  http: HttpServer;
  httpPort: HttpPort | undefined;
}

async function serve(deps: ServerDeps, tls: TlsReloader | undefined, tokens: Tokens | undefined): Promise<Listeners> {
  const { config, log, metrics, health } = deps;
  const handle = createRequestHandler({
    routes: (router) => registerServices(router, deps),
    interceptors: [
      guard(log, metrics, { slowMs: config.slowCallMs, values: config.logPaths }),
      authentication({ pool: deps.pool, tokens, log, metrics }),
    ],
    shutdownSignal: deps.shutdownSignal,
    log,
    clientCertificates: config.tls?.clientCa !== undefined,
  });
  const times = { keepaliveMs: config.keepaliveMs, maxAgeMs: config.connectionMaxAgeMs };
  const http = await listen({ address: config.listen, handle, tls, times, log });
  measure(deps, http, tls);
  if (config.httpListen === undefined) return { http, httpPort: undefined };
  try {
    const { httpListen: address, corsOrigins, metricsKeyFile } = config;
    return { http, httpPort: await openHttpPort({ address, handle, health, metrics, metricsKeyFile, tls, corsOrigins, log }) };
  } catch (error) {
    http.destroy();
    throw error;
  }
}

/** What is known here alone. */
function measure({ metrics, health, pool, log }: ServerDeps, http: HttpServer, tls: TlsReloader | undefined): void {
  addShareMetrics(metrics, pool, log);
  addJobMetrics(metrics, pool, log);
  metrics.gauge("frostline_serving", "1 when health is SERVING, else 0.", () => (health.state.serving ? 1 : 0));
  metrics.gauge("frostline_connections", "HTTP/2 connections.", http.connections);
  metrics.gauge("frostline_open_streams", "HTTP/2 streams, until they are closed.", http.openCalls);
  if (tls === undefined) return;
  const expires = () => tls.current().expires.getTime() / 1000;
  metrics.gauge("frostline_tls_certificate_expiry_seconds", "When the server's certificate expires, in seconds since 1970.", expires);
}

interface Running {
  config: Config;
  log: Logger;
  stop: Stop;
  tls: TlsReloader | undefined;
  health: Health;
  http: HttpServer;
  httpPort: HttpPort | undefined;
  maintenance: Promise<void>;
  /** Ends once no request to a webhook is under way. */
  sending: Promise<void>;
  warmingFeed: WarmingFeed;
  pools: Pools;
  database: Database;
}

async function closeAll(running: Running): Promise<void> {
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
