/** Connections that merge: their staging tables, and how many may work at once. */
import type { Pool, PoolClient } from "pg";
import { isConnectionReset, toDomainError } from "../db/errors.js";
import { FairQueue } from "../fairness/fair-queue.js";

const stagingTables = ["staging_file", "staging_dir", "staging_diff"] as const;

/** Audit events have connections of their own, since COPY and statements that are sent ahead exclude each other. */
export interface IngestPools {
  merging: Pool;
  audit: Pool;
}

/**
 * Lends ingest connections, so many at most whichever they are for: to tenants in turns, within a tenant in the order of asking,
 * so that a segment never waits behind its own successor.
 */
export class IngestConnections {
  readonly #pools: IngestPools;
  readonly #prepared = new WeakSet<PoolClient>();
  readonly #turns: FairQueue;
  readonly #giveBack = new WeakMap<PoolClient, () => void>();

  constructor(pools: IngestPools, atMost: number) {
    this.#pools = pools;
    this.#turns = new FairQueue({ places: atMost });
  }

  /** A connection whose staging tables are its own. Give it back with `release`, broken after any error. */
  async acquire(tenantId: string): Promise<PoolClient> {
    return this.lend(tenantId, this.#pools.merging, prepareMerging);
  }

  /** One that sends statements ahead, in their order: after one that fails, the rest of its transaction fails too. To be given back likewise. */
  async acquireForAudit(tenantId: string): Promise<PoolClient> {
    return this.lend(tenantId, this.#pools.audit, prepareAudit);
  }

  release(client: PoolClient, broken: boolean): void {
    client.release(broken);
    this.#giveBack.get(client)?.();
  }

  protected async lend(tenantId: string, pool: Pool, prepare: (client: PoolClient) => Promise<void>): Promise<PoolClient> {
    const giveBack = await this.#turns.take(tenantId);
    try {
      const client = await connect(pool);
      try {
        if (!this.#prepared.has(client)) await prepare(client);
        this.#prepared.add(client);
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
}

/**
 * PostgreSQL drops a connection whose log-in took more than a minute (authentication_timeout), as it does when it was
 * held up meanwhile. Nothing has begun on it: once more, then it is down.
 */
async function connect(pool: Pool): Promise<PoolClient> {
  try {
    return await pool.connect();
  } catch (error) {
    if (!isConnectionReset(error)) throw error;
    return await pool.connect();
  }
}

/**
 * enable_seqscan: a table without statistics looks small, and a scan of it, once for each directory, cheap; what has no index is
 * still read as it must be.
 */
const settings = "SET work_mem = '64MB'; SET random_page_cost = 1.1; SET enable_seqscan = off";

/** Columns of staging_file that statements join by or choose by: what they are planned with. */
export const plannedBy = ["tenant_id", "ordinal", "dir_id", "name"] as const;
/** Of so many values, times 300 rows. With those of all columns, and as many values as is usual, ANALYZE took longer than the comparison that it is for. */
const statisticsTarget = 10;

async function prepareMerging(client: PoolClient): Promise<void> {
  // temp_buffers: a segment's staging tables, work_mem: the hash of its rows; both else go through the disk in each segment.
  await client.query(`SET temp_buffers = '32MB'; ${settings}`);
  for (const table of stagingTables) await client.query(`CREATE TEMP TABLE ${table} (LIKE public.${table}) ON COMMIT DELETE ROWS`);
  await client.query(
    `ALTER TABLE staging_file ${plannedBy.map((column) => `ALTER ${column} SET STATISTICS ${statisticsTarget}`).join(", ")}`,
  );
}

async function prepareAudit(client: PoolClient): Promise<void> {
  await client.query(settings);
}
