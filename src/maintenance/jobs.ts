/** The background jobs, in the order in which a turn runs them. */
import { stillMatches } from "../planner/still-matches.js";
import { dropEmptyMonths } from "../retention/drop-months.js";
import { continueErasures } from "../retention/erase.js";
import { applyRetention } from "../retention/run.js";
import { newReconciled } from "../tier/reconcile.js";
import { forEachTenant } from "./for-each-tenant.js";
import type { Job } from "./job.js";
import { makePartitions } from "./partitions.js";
import { pruneProcessed } from "./prune-processed.js";
import { pruneWaiting } from "./prune-waiting.js";
import { reconcileTier } from "./reconcile-tier.js";

export const jobs: readonly Job[] = [
  {
    name: "partitions",
    run: async ({ client }) => ({ partitionsMade: await makePartitions(client) }),
  },
  {
    // Before the others: they see no tenant that was erased.
    name: "erasures",
    async run(worker) {
      let erasuresFinished = 0;
      await forEachTenant(worker, async (tenantId) => {
        erasuresFinished += await continueErasures({ ...worker, tenantId });
      });
      return { erasuresFinished };
    },
  },
  {
    name: "audit_events",
    async run(worker) {
      const { client, auditKeepDays, signal } = worker;
      const done = { eventsPruned: 0, waitingPruned: 0 };
      await forEachTenant(worker, async (tenantId) => {
        done.eventsPruned += await pruneProcessed(client, tenantId, auditKeepDays, signal);
        done.waitingPruned += await pruneWaiting(client, tenantId, auditKeepDays, signal);
      });
      return done;
    },
  },
  {
    name: "tier_objects",
    async run(worker) {
      const tier = newReconciled();
      await forEachTenant(worker, (tenantId) => reconcileTier(worker.client, tenantId, stillMatches, tier, worker.signal));
      return { tier };
    },
  },
  {
    name: "retention",
    async run(worker) {
      let rowsRemoved = 0;
      await forEachTenant(worker, async (tenantId) => {
        rowsRemoved += await applyRetention(worker.client, tenantId, worker.signal);
      });
      // What was forgotten may have been the last of its month.
      return { rowsRemoved, partitionsDropped: await dropEmptyMonths(worker.client) };
    },
  },
];

export const jobNames: readonly string[] = jobs.map(({ name }) => name);
