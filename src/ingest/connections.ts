/** Connections that merge: their staging tables, and how many may work at once. */
import type { Pool, PoolClient } from "pg";
import { isConnectionReset, toDomainError } from "../db/errors.js";

const stagingTables = ["staging_file", "staging_dir", "staging_diff"] as const;

/** Lends ingest connections in the order of asking, at most as many as the pool has: a segment never waits behind its own successor. */
export class IngestConnections {
  readonly #pool: Pool;
  readonly #prepared = new WeakSet<PoolClient>();
  #free: number;
  #waiting: (() => void)[] = [];

  constructor(pool: Pool, atMost: number) {
    this.#pool = pool;
    this.#free = atMost;
  }

  /** A connection whose staging tables are its own. Give it back with `release`, broken after any error. */
  async acquire(): Promise<PoolClient> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#free -= 1;
    try {
      const client = await this.#connect();
      try {
        await this.#prepare(client);
      } catch (error) {
        client.release(true);
        throw error;
      }
      return client;
    } catch (error) {
      this.#passOn();
      throw toDomainError(error);
    }
  }

  /**
   * PostgreSQL drops a connection whose log-in took more than a minute (authentication_timeout), as it does when it was
   * held up meanwhile. Nothing has begun on it: once more, then it is down.
   */
  async #connect(): Promise<PoolClient> {
    try {
      return await this.#pool.connect();
    } catch (error) {
      if (!isConnectionReset(error)) throw error;
      return await this.#pool.connect();
    }
  }

  release(client: PoolClient, broken: boolean): void {
    client.release(broken);
    this.#passOn();
  }

  #passOn(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }

  async #prepare(client: PoolClient): Promise<void> {
    if (this.#prepared.has(client)) return;
    // temp_buffers: a segment's staging tables, work_mem: the hash of its rows; both else go through the disk in each segment.
    // enable_seqscan: a table without statistics looks small, and a scan of it, once for each directory, cheap; the staging
    // tables, which have no index, are still read as they must be.
    await client.query("SET temp_buffers = '32MB'; SET work_mem = '64MB'; SET random_page_cost = 1.1; SET enable_seqscan = off");
    for (const table of stagingTables) await client.query(`CREATE TEMP TABLE ${table} (LIKE public.${table}) ON COMMIT DELETE ROWS`);
    this.#prepared.add(client);
  }
}
