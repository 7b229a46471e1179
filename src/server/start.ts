/** Composes a server of its parts. stop.ts takes it apart again. */
import { randomBytes } from "node:crypto";
import * as os from "node:os";
import type { Config } from "../config.js";
import { createPools } from "../db/pool.js";
import { assertRuntimeRole } from "../db/roles.js";
import { Health } from "../health/health.js";
import { OpenCalls } from "../limits/open-calls.js";
import type { Logger } from "../log.js";
import { maintain } from "../maintenance/run.js";
import { Metrics } from "../metrics/metrics.js";
import type { ServerDeps } from "../rpc/context.js";
import { ensureLocalKeys, type LocalKeys } from "../tenancy/local-keys.js";
import { createTokens, type Tokens } from "../tenancy/tokens/tokens.js";
import { WarmingFeed } from "../warming/feed.js";
import { type Database, openDatabase } from "./database.js";
import { type Listeners, serve } from "./serve.js";
import { Stop, stopServer } from "./stop.js";
import { watchTls } from "./tls.js";
import { openWebhooks } from "./webhooks.js";

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

/** What is open by now, each with how to close it: undone from the last to the first when the start fails. */
type Opened = (() => unknown)[];

/** Starts the database if it is embedded, checks the role, and listens. Throws errors that say what to do; nothing is left running then. */
export async function startServer({ config, log }: { config: Config; log: Logger }): Promise<RunningServer> {
  const opened: Opened = [];
  try {
    return await compose(config, log, opened);
  } catch (error) {
    for (const close of opened.reverse()) {
      try {
        await close();
      } catch (problem) {
        log.error({ err: problem }, "the start failed, and something of it could not be closed");
      }
    }
    throw error;
  }
}

async function compose(config: Config, log: Logger, opened: Opened): Promise<RunningServer> {
  const failure = new AbortController();
  const stop = new Stop();
  // Before the database: what is wrong with the files is known at once.
  const tls = config.tls && (await watchTls(config.tls, log));
  opened.push(() => tls?.close());
  const database = await openDatabase(config, log, (error) => failure.abort(error));
  opened.push(() => database.stop());
  const parts = openParts(config, database, log, opened);
  const { pools, warmingFeed, health, metrics } = parts;
  await assertRuntimeRole(pools.query);
  const tokens = await openTokens(config, parts, log);
  const deps = await composeDeps(config, database, parts, log, stop);
  const listeners = await serve(deps, tls, tokens);
  opened.push(() => destroy(listeners));
  const { http, httpPort } = listeners;
  const keys = database.embedded ? (await ensureLocalKeys(pools.query, config.dataDir, http.address)).keys : undefined;
  log.info({ address: http.address, httpPort: httpPort?.url, embedded: database.embedded }, "listening");
  const background = startBackground(deps);
  let closed: Promise<void> | undefined;
  return {
    address: http.address,
    httpUrl: httpPort?.url,
    keys,
    failed: failure.signal,
    metrics,
    openCalls: http.openCalls,
    reloadTls: async () => tls?.reload(),
    close: () => {
      closed ??= stopServer({ config, log, stop, tls, health, ...listeners, ...background, warmingFeed, pools, database });
      return closed;
    },
  };
}

type Parts = ReturnType<typeof openParts>;

/** What is there before the database has been asked anything. */
function openParts(config: Config, database: Database, log: Logger, opened: Opened) {
  const pools = createPools(database.url, {
    queryPoolMax: config.queryPoolMax,
    ingestPoolMax: config.ingestPoolMax,
    onIdleError: (error) => log.warn({ err: error }, "an idle database connection broke"),
  });
  opened.push(() => pools.end());
  const warmingFeed = new WarmingFeed({ connection: pools.listener, log });
  opened.push(() => warmingFeed.close());
  const health = new Health(pools.listener, log);
  opened.push(() => health.close());
  const metrics = new Metrics();
  metrics.pools({ query: pools.query, authentication: pools.authentication, ingest: pools.ingest, audit: pools.audit });
  return { pools, warmingFeed, health, metrics };
}

async function openTokens({ tokens }: Config, { pools, metrics }: Parts, log: Logger): Promise<Tokens | undefined> {
  if (tokens === undefined) return undefined;
  const onKeysRead = (outcome: string) => metrics.issuerKeyReads.inc({ outcome });
  return createTokens({ settings: tokens, pool: pools.authentication, log, onKeysRead });
}

async function composeDeps(config: Config, { embedded }: Database, parts: Parts, log: Logger, stop: Stop): Promise<ServerDeps> {
  const { pools, warmingFeed, health, metrics } = parts;
  const webhooks = await openWebhooks({ config, embedded, pool: pools.query, feed: warmingFeed, metrics, log });
  return {
    pool: pools.query,
    authenticationPool: pools.authentication,
    ingestPools: { merging: pools.ingest, audit: pools.audit },
    openCalls: new OpenCalls(config.limits.openCalls),
    warmingFeed,
    webhooks,
    health,
    metrics,
    config,
    log,
    drainSignal: stop.drain.signal,
    shutdownSignal: stop.abort.signal,
  };
}

/** What runs whether somebody calls or not, until the server drains. */
function startBackground({ pool, log, config, metrics, webhooks, drainSignal: signal }: ServerDeps) {
  return {
    maintenance: maintain({
      pool,
      log,
      intervalMs: config.maintenanceIntervalMs,
      auditKeepDays: config.auditKeepDays,
      server: instanceName(),
      onRun: (job, outcome, seconds, rows) => metrics.jobRun(job, outcome, seconds, rows),
      signal,
    }),
    sending: webhooks.dispatcher.run(signal),
  };
}

/** Of this server among all that share a database: containers often have the same process id. */
function instanceName(): string {
  return `${os.hostname()}/${process.pid}/${randomBytes(2).toString("hex")}`;
}

function destroy({ http, httpPort }: Listeners): void {
  http.destroy();
  httpPort?.destroy();
}
