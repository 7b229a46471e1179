/** Connections: one pool for queries, one for merging scans, and a small one for looking callers up, so that none starves the other. */
import pg from "pg";
import { TenantPool } from "./tenant-pool.js";

const queryStatementTimeoutMs = 60_000;
const queryLockTimeoutMs = 10_000;
/** A look-up takes a millisecond; calls with the same key share it, and keys take turns (see tenancy/key-lookups.ts). */
export const authenticationConnections = 4;
/** For cancelling statements that nobody waits for any more; closed when there are none for a while. */
const cancellingConnections = 1;
/** No answer to `SELECT 1` for so long, and the connection counts as lost. */
const listenerQueryTimeoutMs = 10_000;
const ingestLockTimeoutMs = 60_000;
const idleInTransactionTimeoutMs = 120_000;
/** Also the longest wait for a free connection; then the caller is told UNAVAILABLE. */
const queryConnectTimeoutMs = 10_000;
/** A database that does not answer for a while holds scans up, but does not break them; one that refuses is known at once. */
const ingestConnectTimeoutMs = 120_000;

export interface Pools {
  /** Tenants take turns at it. A statement is sent without waiting for the one before: no COPY, no cursors of pg's. */
  query: TenantPool;
  /** For looking callers up, before it is known who they are. */
  authentication: pg.Pool;
  /** No statement timeout; session settings for small tables that are analyzed again and again. */
  ingest: pg.Pool;
  /** The same for audit events; statements are sent ahead as in `query`. */
  audit: pg.Pool;
  /** For a connection beside the pools, that only listens. */
  listener: pg.ClientConfig;
  /** Waits for the connections in use, and until all are closed: an idle one that outlived the database would be reported as broken. */
  end(): Promise<void>;
}

export interface PoolOptions {
  queryPoolMax: number;
  ingestPoolMax: number;
  /** Of calls, not of merges. Default 60 s. */
  statementTimeoutMs?: number;
  /** Of calls, not of merges. Default 10 s. */
  lockTimeoutMs?: number;
  /** Told when an idle connection breaks; the pool replaces it. */
  onIdleError: (error: Error) => void;
}

/**
 * Opens nothing yet: connections are made when needed. bigint columns arrive as BigInt.
 * Needs direct connections or a session-mode pooler: temporary tables do not survive a transaction-mode one.
 */
export function createPools(url: string, options: PoolOptions): Pools {
  const common: pg.PoolConfig = {
    connectionString: url,
    keepAlive: true,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
    types: { getTypeParser },
  };
  const short = {
    ...common,
    connectionTimeoutMillis: queryConnectTimeoutMs,
    statement_timeout: options.statementTimeoutMs ?? queryStatementTimeoutMs,
    lock_timeout: options.lockTimeoutMs ?? queryLockTimeoutMs,
  };
  const cancelling = new pg.Pool({ ...short, application_name: "frostline-cancelling", max: cancellingConnections });
  const query = new TenantPool(
    { ...short, application_name: "frostline", max: options.queryPoolMax, pipeline: true },
    queryConnectTimeoutMs,
    cancelling,
  );
  const authentication = new pg.Pool({ ...short, application_name: "frostline-authentication", max: authenticationConnections });
  const merging = {
    ...common,
    max: options.ingestPoolMax,
    connectionTimeoutMillis: ingestConnectTimeoutMs,
    lock_timeout: ingestLockTimeoutMs,
    // Staging tables are analyzed in each segment: a sample of 3,000 rows is enough to plan by.
    options: "-c default_statistics_target=10 -c jit=off",
  };
  const ingest = new pg.Pool({ ...merging, application_name: "frostline-ingest" });
  const audit = new pg.Pool({ ...merging, application_name: "frostline-audit", pipeline: true });
  const all = [query, authentication, cancelling, ingest, audit];
  for (const pool of all) {
    pool.on("error", options.onIdleError);
    // A connection that breaks while in use, but between two statements, would end the process; the next statement tells.
    pool.on("connect", (client) => client.on("error", () => {}));
  }
  const closed = all.map(untilClosed);
  const end = async () => {
    await Promise.all(all.map((pool) => pool.end()));
    await Promise.all(closed.map((wait) => wait()));
  };
  const listener: pg.ClientConfig = {
    connectionString: url,
    keepAlive: true,
    application_name: "frostline-listen",
    connectionTimeoutMillis: queryConnectTimeoutMs,
    query_timeout: listenerQueryTimeoutMs,
  };
  return { query, authentication, ingest, audit, listener, end };
}

/** pool.end() has only asked the connections to close when it resolves; the function returned waits for the last to be gone. */
function untilClosed(pool: pg.Pool): () => Promise<void> {
  const open = new Set<pg.PoolClient>();
  let wake: (() => void) | undefined;
  pool.on("connect", (client) => open.add(client));
  pool.on("remove", (client) => {
    open.delete(client);
    if (open.size === 0) wake?.();
  });
  return async () => {
    if (open.size === 0) return;
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  };
}

/** Ids exceed what a double holds exactly; pg would give them as text. */
const getTypeParser: pg.CustomTypesConfig["getTypeParser"] = (oid, format) => {
  if (oid === pg.types.builtins.INT8 && format !== "binary") return BigInt;
  return format === undefined ? pg.types.getTypeParser(oid) : pg.types.getTypeParser(oid, format);
};
