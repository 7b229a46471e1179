/** What is wanted of objects, set-wise: no change of state, but told in audit_log like one. */
import type { ClientBase } from "pg";
import { plainArray } from "../db/array-literals.js";

/**
 * Wants STUBBED objects back; those of `tierIds` in another state, or already wanted, stay as they are. `actor` null: the server itself.
 * Returns the ids that it now wants. Within the caller's transaction.
 */
export async function requestRehydration(
  client: ClientBase,
  tenantId: string,
  tierIds: readonly bigint[],
  reason: string,
  actor: string | null = null,
): Promise<bigint[]> {
  if (tierIds.length === 0) return [];
  return want(client, tenantId, tierIds, "REHYDRATE", ["STUBBED"], "rehydration_requested", reason, actor);
}

/** Wants the copies at the target gone, of files that are back or gone themselves and have one. The same otherwise. */
export async function requestTargetDeletion(
  client: ClientBase,
  tenantId: string,
  tierIds: readonly bigint[],
  reason: string,
  actor: string,
): Promise<bigint[]> {
  if (tierIds.length === 0) return [];
  return want(client, tenantId, tierIds, "DELETE_TARGET", ["REHYDRATED", "DELETED"], "target_deletion_requested", reason, actor);
}

async function want(
  client: ClientBase,
  tenantId: string,
  tierIds: readonly bigint[],
  wanted: "REHYDRATE" | "DELETE_TARGET",
  states: string[],
  source: string,
  reason: string,
  actor: string | null,
): Promise<bigint[]> {
  const { rows } = await client.query<{ tier_id: bigint }>(
    `WITH idle AS MATERIALIZED (
       SELECT tenant_id, tier_id FROM tier_object
       WHERE tenant_id = $1 AND tier_id = ANY($2::bigint[]) AND state = ANY($3::text[]) AND wanted_action IS NULL
         AND ($4 <> 'DELETE_TARGET' OR object_uri IS NOT NULL)
       ORDER BY tier_id FOR UPDATE
     ), asked AS (
       UPDATE tier_object t SET wanted_action = $4, state_reason = nullif($5, ''), attempts = 0, retry_after_utc = NULL, lease_token = NULL
       FROM idle i WHERE t.tenant_id = $1 AND t.tier_id = ANY($2::bigint[]) AND t.tenant_id = i.tenant_id AND t.tier_id = i.tier_id
       RETURNING t.tier_id, t.share_id, t.file_current_id, t.state
     ), logged AS (
       INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, old_state, new_state, source, actor, reason)
       SELECT $1, 'tier', share_id, file_current_id, state, state, $6, $7, nullif($5, '') FROM asked
     )
     SELECT tier_id FROM asked`,
    [tenantId, plainArray([...tierIds]), states, wanted, reason, source, actor],
  );
  return rows.map((row) => row.tier_id);
}
