/** Connections that merge, with how many wait for one and how long each is used. */
import type { Pool, PoolClient } from "pg";
import { IngestConnections, type IngestPools } from "../ingest/connections.js";
import type { Metrics } from "./metrics.js";

export class MeteredConnections extends IngestConnections {
  readonly #metrics: Metrics;
  readonly #sinceMs = new WeakMap<PoolClient, number>();

  constructor(pools: IngestPools, atMost: number, metrics: Metrics) {
    super(pools, atMost);
    this.#metrics = metrics;
  }

  protected override async lend(tenantId: string, pool: Pool, prepare: (client: PoolClient) => Promise<void>): Promise<PoolClient> {
    this.#metrics.mergeWaiting.inc();
    try {
      const client = await super.lend(tenantId, pool, prepare);
      this.#sinceMs.set(client, performance.now());
      return client;
    } finally {
      this.#metrics.mergeWaiting.dec();
    }
  }

  override release(client: PoolClient, broken: boolean): void {
    const sinceMs = this.#sinceMs.get(client);
    if (sinceMs !== undefined) {
      this.#metrics.mergeSeconds.observe({ outcome: broken ? "failed" : "done" }, (performance.now() - sinceMs) / 1000);
    }
    super.release(client, broken);
  }
}
