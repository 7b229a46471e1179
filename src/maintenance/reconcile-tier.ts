/** Tier objects that nobody else would bring on: a tenant's, share by share, in batches. */
import type { ClientBase } from "pg";
import { beginFor } from "../db/tenant.js";
import { lockShare } from "../ingest/locks.js";
import { reclaimStubs } from "../tier/reclaim.js";
import { cancelPlanned, closeGone, flagWritten, giveUpChanged, nextObjects, type Reconciled, returnLeases } from "../tier/reconcile.js";
import type { StillMatches } from "../tier/still-matches.js";

/** Goes through all objects of the tenant; between two batches an abort of `signal` ends it. Adds to `done`. */
export async function reconcileTier(
  client: ClientBase,
  tenantId: string,
  stillMatches: StillMatches,
  done: Reconciled,
  signal: AbortSignal,
): Promise<void> {
  const step = async <T>(work: () => Promise<T>): Promise<T> => {
    await client.query(beginFor(tenantId));
    const result = await work();
    await client.query("COMMIT");
    return result;
  };
  for (let returned = 1; returned > 0 && !signal.aborted; done.leasesReturned += returned) {
    returned = await step(() => returnLeases(client, tenantId));
  }
  const shares = await step(() =>
    client.query<{ share_id: bigint }>("SELECT share_id FROM share WHERE tenant_id = $1 ORDER BY share_id", [tenantId]),
  );
  for (const { share_id: shareId } of shares.rows) {
    for (let afterId = 0n; !signal.aborted; ) {
      const last = await step(() => reconcileBatch(client, tenantId, shareId, afterId, stillMatches, done));
      if (last === undefined) break;
      afterId = last;
    }
  }
}

/** Adds to `done`; returns the last id of the batch, undefined when there is none. */
async function reconcileBatch(
  client: ClientBase,
  tenantId: string,
  shareId: bigint,
  afterId: bigint,
  stillMatches: StillMatches,
  done: Reconciled,
): Promise<bigint | undefined> {
  const tierIds = await nextObjects(client, tenantId, shareId, afterId);
  if (tierIds.length === 0) return undefined;
  // Scans and audit batches of the share come before or after.
  await lockShare(client, shareId, "exclusive");
  done.reclaimed += await reclaimStubs(client, tenantId, tierIds);
  done.overwritten += await giveUpChanged(client, tenantId, tierIds);
  done.closed += await closeGone(client, tenantId, shareId, tierIds);
  done.cancelled += await cancelPlanned(client, tenantId, tierIds, stillMatches);
  done.flagged += await flagWritten(client, tenantId, tierIds);
  return tierIds.at(-1);
}
