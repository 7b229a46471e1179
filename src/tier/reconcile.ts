/**
 * What nobody else notices: leases whose movers are gone, plans whose files no longer match, objects whose files are gone,
 * stubs that were written to. In batches along the ids, each in a transaction of its own.
 */
import type { ClientBase } from "pg";
import { changeStates } from "./change-state.js";
import { asPlanned, type StillMatches } from "./still-matches.js";

const objectsInBatch = 5000;

export interface Reconciled {
  leasesReturned: number;
  closed: number;
  cancelled: number;
  flagged: number;
  /** Stubs that a scan had taken for the file. */
  reclaimed: number;
  /** Stubs that were overwritten before they were reported. */
  overwritten: number;
}

export function newReconciled(): Reconciled {
  return { leasesReturned: 0, closed: 0, cancelled: 0, flagged: 0, reclaimed: 0, overwritten: 0 };
}

/**
 * Leases that ended without a report. Their objects can be claimed without this; here it becomes visible, and counts as an
 * attempt. The token stays: the mover may only be late.
 */
export async function returnLeases(client: ClientBase, tenantId: string): Promise<number> {
  const { rowCount } = await client.query(
    `WITH ended AS MATERIALIZED (
       SELECT tenant_id, tier_id FROM tier_object WHERE tenant_id = $1 AND wanted_action IS NOT NULL AND lease_until_utc < now()
       ORDER BY tier_id LIMIT $2 FOR UPDATE SKIP LOCKED
     )
     UPDATE tier_object t SET state_reason = format('The lease of %s ended without a report.', t.lease_holder), lease_holder = NULL, lease_until_utc = NULL,
       attempts = t.attempts + 1
     FROM ended e WHERE t.tenant_id = $1 AND t.tenant_id = e.tenant_id AND t.tier_id = e.tier_id`,
    [tenantId, objectsInBatch],
  );
  return rowCount ?? 0;
}

/** The ids after `afterId` of a batch of the share's objects that are not DELETED; none: that was the last. */
export async function nextObjects(client: ClientBase, tenantId: string, shareId: bigint, afterId: bigint): Promise<bigint[]> {
  const { rows } = await client.query<{ tier_id: bigint }>(
    `SELECT tier_id FROM tier_object WHERE tenant_id = $1 AND share_id = $2 AND state <> 'DELETED' AND tier_id > $3 ORDER BY tier_id LIMIT $4`,
    [tenantId, shareId, afterId, objectsInBatch],
  );
  return rows.map(({ tier_id }) => tier_id);
}

/**
 * DELETED become those whose file is proven gone: by an audit event that is newer than the scan since which the file is
 * missing, or by two complete scans that found all directories readable. One scan's absence never does: a share that was
 * mounted empty would cost everything. The share's lock is held, so that no file comes back meanwhile. Returns how many.
 */
export async function closeGone(client: ClientBase, tenantId: string, shareId: bigint, tierIds: readonly bigint[]): Promise<number> {
  const { rows } = await client.query<{ tier_id: bigint; by_event: boolean }>(
    `WITH proof AS MATERIALIZED (
       SELECT scan_id, lead(scan_id) OVER (ORDER BY scan_id) AS next_scan_id FROM scan
       WHERE tenant_id = $1 AND share_id = $2 AND mode = 'FULL' AND status IN ('OK', 'WARN') AND unreadable = 0
     ), newest AS (
       SELECT max(scan_id) FILTER (WHERE next_scan_id IS NOT NULL) AS last_but_one_id FROM proof
     ), missing AS (
       SELECT t.tier_id, coalesce(c.last_structural_event_utc >= s.finished_utc, false) AS by_event,
         -- An event's absence counts from the scan before it, which still saw the file.
         CASE WHEN c.last_structural_event_utc IS NULL THEN c.missing_since_scan_id ELSE c.missing_since_scan_id + 1 END AS first_scan_id
       FROM unnest($3::bigint[]) AS batch (tier_id)
       CROSS JOIN LATERAL (SELECT * FROM tier_object WHERE tenant_id = $1 AND tier_id = batch.tier_id OFFSET 0) t
       CROSS JOIN LATERAL (SELECT * FROM file_current WHERE tenant_id = $1 AND tenant_id = t.tenant_id AND file_current_id = t.file_current_id OFFSET 0) c
       JOIN scan s ON s.tenant_id = c.tenant_id AND s.scan_id = c.missing_since_scan_id
       WHERE s.tenant_id = $1
     )
     SELECT tier_id, by_event FROM missing CROSS JOIN newest WHERE by_event OR last_but_one_id >= first_scan_id`,
    [tenantId, shareId, [...tierIds]],
  );
  const gone = rows.map(({ tier_id, by_event }) => ({
    tierId: tier_id,
    reason: by_event ? "An audit event told that the file is gone." : "Two complete scans did not find the file.",
    actor: "",
  }));
  return (await changeStates(client, tenantId, { to: "DELETED", cause: "file_gone", leased: false }, gone)).length;
}

/**
 * Plans that no longer match, but those whose stub may be in its place: a mover has to find that out. A file that went
 * missing in a scan that still runs may have moved. Returns how many.
 */
export async function cancelPlanned(
  client: ClientBase,
  tenantId: string,
  tierIds: readonly bigint[],
  stillMatches: StillMatches,
): Promise<number> {
  const { rows } = await client.query<{ tier_id: bigint }>(
    `SELECT t.tier_id FROM unnest($2::bigint[]) AS batch (tier_id)
     CROSS JOIN LATERAL (SELECT * FROM tier_object WHERE tenant_id = $1 AND tier_id = batch.tier_id OFFSET 0) t
     CROSS JOIN LATERAL (SELECT * FROM file_current WHERE tenant_id = $1 AND tenant_id = t.tenant_id AND file_current_id = t.file_current_id OFFSET 0) c
     WHERE t.state = 'PLANNED' AND t.stub_size_bytes IS NULL
       AND NOT EXISTS (SELECT FROM scan s WHERE s.tenant_id = c.tenant_id AND s.scan_id = c.missing_since_scan_id AND s.status = 'RUNNING')`,
    [tenantId, [...tierIds]],
  );
  const planned = rows.map(({ tier_id }) => tier_id);
  if (planned.length === 0) return 0;
  const unchanged = new Set(await asPlanned(client, tenantId, planned));
  const matching = new Set(await stillMatches(client, tenantId, [...unchanged]));
  const others = planned
    .filter((tierId) => !matching.has(tierId))
    .map((tierId) => ({
      tierId,
      reason: unchanged.has(tierId) ? "The file no longer satisfies the rule." : "The file changed after it was planned.",
      actor: "",
    }));
  return (await changeStates(client, tenantId, { to: "DELETED", cause: "no_longer_matching", leased: false }, others)).length;
}

/** Why a stub that is no longer there made its object REHYDRATED. */
export const overwrittenReason = "A scan found another file in the place of the stub.";

/**
 * REHYDRATED become STUBBED objects whose file the inventory has with other values than when it was planned: the stub was overwritten, and a
 * scan saw it, before the mover reported that it had put the stub there. Returns how many.
 */
export async function giveUpChanged(client: ClientBase, tenantId: string, tierIds: readonly bigint[]): Promise<number> {
  const { rows } = await client.query<{ tier_id: bigint }>(
    `SELECT t.tier_id FROM unnest($2::bigint[]) AS batch (tier_id)
     CROSS JOIN LATERAL (SELECT * FROM tier_object WHERE tenant_id = $1 AND tier_id = batch.tier_id OFFSET 0) t
     CROSS JOIN LATERAL (SELECT * FROM file_current WHERE tenant_id = $1 AND tenant_id = t.tenant_id AND file_current_id = t.file_current_id OFFSET 0) c
     WHERE t.state = 'STUBBED' AND c.missing_since_scan_id IS NULL
       AND (c.size_bytes <> t.planned_size_bytes OR c.mtime_unix <> t.planned_mtime_unix)
       AND (c.size_bytes <> t.stub_size_bytes OR c.mtime_unix <> t.stub_mtime_unix)`,
    [tenantId, [...tierIds]],
  );
  const changed = rows.map(({ tier_id }) => ({ tierId: tier_id, reason: overwrittenReason, actor: "" }));
  return (await changeStates(client, tenantId, { to: "REHYDRATED", cause: "stub_overwritten", leased: false }, changed)).length;
}

/** Stands with a flagged object until a scan has found its stub. */
export const writtenReason = "An audit event told of a write to the stub; the next scan tells what is there.";

/** Stubs that an audit event says were written to. What is there now, the next scan tells. Returns how many are news. */
export async function flagWritten(client: ClientBase, tenantId: string, tierIds: readonly bigint[]): Promise<number> {
  const { rowCount } = await client.query(
    `WITH written AS MATERIALIZED (
       SELECT t.tier_id FROM unnest($2::bigint[]) AS batch (tier_id)
       CROSS JOIN LATERAL (SELECT * FROM tier_object WHERE tenant_id = $1 AND tier_id = batch.tier_id OFFSET 0) t
       CROSS JOIN LATERAL (SELECT * FROM file_current WHERE tenant_id = $1 AND tenant_id = t.tenant_id AND file_current_id = t.file_current_id OFFSET 0) c
       WHERE t.state = 'STUBBED' AND c.stale_metadata AND c.missing_since_scan_id IS NULL AND t.state_reason IS DISTINCT FROM $3
     )
     UPDATE tier_object t SET state_reason = $3
     WHERE t.tenant_id = $1 AND t.tier_id = ANY(ARRAY(SELECT tier_id FROM written)) AND t.state = 'STUBBED'`,
    [tenantId, [...tierIds], writtenReason],
  );
  return rowCount ?? 0;
}
