/** Background jobs: at the start and then at intervals, on one server at a time. */
import { setTimeout as delay } from "node:timers/promises";
import type { Pool, PoolClient } from "pg";
import { toDomainError } from "../db/errors.js";
import type { Logger } from "../log.js";
import { stillMatches } from "../planner/still-matches.js";
import { dropEmptyMonths } from "../retention/drop-months.js";
import { continueErasures } from "../retention/erase.js";
import { applyRetention } from "../retention/run.js";
import { newReconciled, type Reconciled } from "../tier/reconcile.js";
import { makePartitions } from "./partitions.js";
import { pruneProcessed } from "./prune-processed.js";
import { pruneWaiting } from "./prune-waiting.js";
import { reconcileTier } from "./reconcile-tier.js";

export interface MaintenanceOptions {
  pool: Pool;
  log: Logger;
  /** From the end of a run to the begin of the next. */
  intervalMs: number;
  /** So long a processed audit event is remembered. */
  auditKeepDays: number;
  /** Ends it: what is under way comes to the end of its transaction. */
  signal: AbortSignal;
}

export interface MaintenanceResult {
  /** False when another server is at it; then nothing was done. */
  ran: boolean;
  partitionsMade: string[];
  /** Months of the audit log that retention had emptied. */
  partitionsDropped: string[];
  eventsPruned: number;
  /** Accesses that waited for a file in vain. */
  waitingPruned: number;
  /** Tier objects that were brought on. */
  tier: Reconciled;
}

/** Runs the jobs again and again until `signal` aborts; resolves then. Errors are logged, and the next run tries again. */
export async function maintain(options: MaintenanceOptions): Promise<void> {
  const { log, intervalMs, signal } = options;
  while (!signal.aborted) {
    try {
      const { ran, ...done } = await runMaintenance(options);
      if (ran) log.debug(done, "background jobs done");
    } catch (error) {
      log.error({ err: error }, "background jobs failed; the next run tries again");
    }
    await delay(intervalMs, undefined, { signal }).catch((error) => {
      if (!signal.aborted) throw error;
    });
  }
}

/** Runs each job once. Throws DomainErrors. */
export async function runMaintenance({
  pool,
  auditKeepDays,
  signal,
}: Omit<MaintenanceOptions, "log" | "intervalMs">): Promise<MaintenanceResult> {
  const result: MaintenanceResult = {
    ran: false,
    partitionsMade: [],
    partitionsDropped: [],
    eventsPruned: 0,
    waitingPruned: 0,
    tier: newReconciled(),
  };
  const client = await pool.connect().catch((error) => {
    throw toDomainError(error);
  });
  let broken = true;
  try {
    result.ran = await tryLock(client);
    if (result.ran) {
      result.partitionsMade = await makePartitions(client);
      for (const tenantId of await listTenantIds(client)) await continueErasures({ client, tenantId, signal });
      // Without those that were erased.
      for (const tenantId of await listTenantIds(client)) {
        result.eventsPruned += await pruneProcessed(client, tenantId, auditKeepDays, signal);
        result.waitingPruned += await pruneWaiting(client, tenantId, auditKeepDays, signal);
        await reconcileTier(client, tenantId, stillMatches, result.tier, signal);
        await applyRetention(client, tenantId, signal);
      }
      result.partitionsDropped = await dropEmptyMonths(client);
      await client.query("SELECT pg_advisory_unlock(hashtextextended('maintenance', 0))");
    }
    broken = false;
    return result;
  } catch (error) {
    throw toDomainError(error);
  } finally {
    // After an error the connection goes, and with it the lock.
    client.release(broken);
  }
}

/** A lock of the connection: it goes with it, whatever becomes of this process. */
async function tryLock(client: PoolClient): Promise<boolean> {
  const { rows } = await client.query<{ locked: boolean }>("SELECT pg_try_advisory_lock(hashtextextended('maintenance', 0)) AS locked");
  return rows[0]?.locked ?? false;
}

async function listTenantIds(client: PoolClient): Promise<string[]> {
  const { rows } = await client.query<{ tenant_id: string }>("SELECT tenant_id FROM list_tenants()");
  return rows.map((row) => row.tenant_id);
}
