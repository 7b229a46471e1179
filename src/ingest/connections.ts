/** Connections that merge: their staging tables, and how many may work at once. */
import type { Pool, PoolClient } from "pg";
import { isConnectionReset, toDomainError } from "../db/errors.js";
import { FairQueue } from "../fairness/fair-queue.js";

const stagingTables = ["staging_file", "staging_dir", "staging_diff"] as const;

/**
 * Lends ingest connections, at most as many as the pool has: to tenants in turns, within a tenant in the order of asking, so
 * that a segment never waits behind its own successor.
 */
export class IngestConnections {
  readonly #pool: Pool;
  readonly #prepared = new WeakSet<PoolClient>();
  readonly #turns: FairQueue;
  readonly #giveBack = new WeakMap<PoolClient, () => void>();

  constructor(pool: Pool, atMost: number) {
    this.#pool = pool;
    this.#turns = new FairQueue({ places: atMost });
  }

  /** A connection whose staging tables are its own. Give it back with `release`, broken after any error. */
  async acquire(tenantId: string): Promise<PoolClient> {
    const giveBack = await this.#turns.take(tenantId);
    try {
      const client = await this.#connect();
      try {
        await this.#prepare(client);
      } catch (error) {
        client.release(true);
        throw error;
      }
      this.#giveBack.set(client, giveBack);
      return client;
    } catch (error) {
      giveBack();
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
    this.#giveBack.get(client)?.();
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
