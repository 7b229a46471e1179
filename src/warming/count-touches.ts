/** Accesses that are counted: of objects that are STUBBED, and from after they became so. */
import type { ClientBase } from "pg";
import { plainArray } from "../db/array-literals.js";
import type { Touch } from "./touch.js";

/**
 * Counts accesses on their objects and returns those that were: a trail that is read late also tells of
 * accesses from before the file was tiered, and of objects that a mover has brought back meanwhile.
 */
export async function countTouches(client: ClientBase, tenantId: string, touches: readonly Touch[]): Promise<Touch[]> {
  const { rows } = await client.query<{ ordinal: bigint }>(
    // Locked in the order of their ids, as everywhere.
    `WITH object AS MATERIALIZED (
       SELECT tier_id, acted_utc FROM tier_object WHERE tenant_id = $1 AND tier_id = ANY($2::bigint[]) AND state = 'STUBBED' ORDER BY tier_id FOR UPDATE
     ), touch AS MATERIALIZED (
       SELECT w.ordinal, o.tier_id, to_timestamp(w.micros / 1000000.0) AS event_utc
       FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS w (tier_id, micros, ordinal) JOIN object o ON o.tier_id = w.tier_id
       WHERE to_timestamp(w.micros / 1000000.0) >= coalesce(o.acted_utc, '-infinity')
     ), counted AS (
       UPDATE tier_object t SET access_count = t.access_count + n.accesses, last_accessed_utc = GREATEST(t.last_accessed_utc, n.last_utc)
       FROM (SELECT tier_id, count(*) AS accesses, max(event_utc) AS last_utc FROM touch GROUP BY tier_id) n
       WHERE t.tenant_id = $1 AND t.tier_id = n.tier_id
     )
     SELECT ordinal FROM touch ORDER BY ordinal`,
    [tenantId, plainArray(touches.map(({ tierId }) => tierId)), plainArray(touches.map(({ timeMicros }) => timeMicros))],
  );
  return rows.map(({ ordinal }) => touches[Number(ordinal) - 1] as Touch);
}
