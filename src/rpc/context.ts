/** What every call knows of itself, and what every service is given. */
import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import type { Pool } from "pg";
import type { Config } from "../config.js";
import type { Health } from "../health/health.js";
import type { IngestPools } from "../ingest/connections.js";
import type { OpenCalls } from "../limits/open-calls.js";
import type { Logger } from "../log.js";
import type { Metrics } from "../metrics/metrics.js";
import type { Caller } from "../tenancy/keys.js";
import type { WarmingFeed } from "../warming/feed.js";
import type { Webhooks } from "../webhooks/webhooks.js";

export interface CallContext extends Caller {
  /** Stands in the log, and in the message of an internal error. */
  requestId: string;
}

/** Set by the server's authentication before any service is called. */
export const callContextKey = createContextKey<CallContext | undefined>(undefined, { description: "caller" });

/** Who calls. */
export function caller(context: HandlerContext): CallContext {
  const call = context.values.get(callContextKey);
  if (call === undefined) throw new Error("a service was called without authentication");
  return call;
}

export interface ServerDeps {
  /** For everything but merging scans. */
  pool: Pool;
  /** For looking callers up, before it is known who they are. */
  authenticationPool: Pool;
  ingestPools: IngestPools;
  openCalls: OpenCalls;
  warmingFeed: WarmingFeed;
  webhooks: Webhooks;
  health: Health;
  metrics: Metrics;
  config: Config;
  log: Logger;
  /** Aborts when the server begins to stop: long streams end what they are at, and no more. */
  drainSignal: AbortSignal;
  /** Aborts when the server stops waiting for the calls that still run. */
  shutdownSignal: AbortSignal;
}
