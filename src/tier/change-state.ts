/** Every change of state but a plan's, set-wise and with its row in audit_log. */
import type { ClientBase } from "pg";
import { plainArray, textArray } from "../db/array-literals.js";
import { beginResidency } from "../warming/residency.js";
import { type Cause, statesBefore, type TierState } from "./transitions.js";

export interface StateChange {
  to: TierState;
  cause: Cause;
  /** Also objects that a mover is at work on: only its own report may say so. */
  leased: boolean;
}

export interface ChangedObject {
  tierId: bigint;
  /** Stays with the object, and in audit_log. */
  reason: string;
  /** Who did it; empty: the server itself. */
  actor: string;
}

/**
 * Changes those of `objects` that the table of transitions allows to change, and returns their ids. The others stay as they
 * are. What was wanted is done, or no longer wanted; a lease ends.
 */
export async function changeStates(
  client: ClientBase,
  tenantId: string,
  { to, cause, leased }: StateChange,
  objects: readonly ChangedObject[],
): Promise<bigint[]> {
  if (objects.length === 0) return [];
  const { rows } = await client.query<{ tier_id: bigint }>(
    // Locked in the order of their ids, as everywhere: two transactions never wait for each other in a circle.
    `WITH before AS MATERIALIZED (
       SELECT t.tenant_id, t.tier_id, t.state, w.reason, w.actor
       FROM unnest($2::bigint[], $3::text[], $8::text[]) AS w (tier_id, reason, actor) JOIN tier_object t ON t.tier_id = w.tier_id
       WHERE t.tenant_id = $1 AND t.tier_id = ANY($2::bigint[]) AND t.state = ANY($4::text[]) AND ($5 OR t.lease_until_utc IS NULL OR t.lease_until_utc < now())
       ORDER BY t.tier_id FOR UPDATE OF t
     ), changed AS (
       UPDATE tier_object t SET state = $6, state_reason = nullif(b.reason, ''), wanted_action = NULL, acted_utc = now(), attempts = 0, retry_after_utc = NULL,
         lease_holder = NULL, lease_until_utc = NULL, lease_token = NULL,
         -- A file that was back leaves no stub when it goes; any other may have, and a scan that meets it is to know it.
         stub_size_bytes = CASE b.state WHEN 'REHYDRATED' THEN NULL ELSE t.stub_size_bytes END,
         stub_mtime_unix = CASE b.state WHEN 'REHYDRATED' THEN NULL ELSE t.stub_mtime_unix END,
         stub_frn = CASE b.state WHEN 'REHYDRATED' THEN NULL ELSE t.stub_frn END
       FROM before b WHERE t.tenant_id = $1 AND t.tier_id = ANY($2::bigint[]) AND t.tenant_id = b.tenant_id AND t.tier_id = b.tier_id
       RETURNING t.tier_id, t.share_id, t.file_current_id, b.state AS old_state, b.reason, b.actor
     ), logged AS (
       INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, old_state, new_state, source, actor, reason)
       SELECT $1, 'tier', share_id, file_current_id, old_state, $6, $7, nullif(actor, ''), nullif(reason, '') FROM changed
     )
     SELECT tier_id FROM changed`,
    [
      tenantId,
      plainArray(objects.map(({ tierId }) => tierId)),
      textArray(objects.map(({ reason }) => reason)),
      statesBefore(to, cause),
      leased,
      to,
      cause,
      textArray(objects.map(({ actor }) => actor)),
    ],
  );
  const changed = rows.map((row) => row.tier_id);
  if (to === "REHYDRATED") await beginResidency(client, tenantId, changed);
  return changed;
}
