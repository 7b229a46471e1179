/** Which accesses call a file back, by its rule's policy. */
import type { ClientBase } from "pg";
import { plainArray } from "../db/array-literals.js";
import { requestRehydration } from "../tier/want.js";
import type { Touch } from "./touch.js";

const reason = "It was accessed while it was tiered, as often as its rule's warming policy says.";

/**
 * Wants those objects back that `touches`, which are about to be recorded, bring to their policy's number of accesses within its
 * window. Accesses in a storm do not count, nor do those from before the object became STUBBED this time. The policy is that of
 * the rule's version in force, since operators change it for what is tiered already; of a rule that is gone, its last one's.
 */
export async function applyPolicy(client: ClientBase, tenantId: string, touches: readonly Touch[]): Promise<void> {
  if (touches.length === 0) return;
  const { rows } = await client.query<{ tier_id: bigint }>(
    // Looked up object by object: before autovacuum has seen the tables, joins of 20,000 objects were planned so that they took a minute.
    `WITH touch AS MATERIALIZED (
       SELECT w.tier_id, to_timestamp(w.micros / 1000000.0) AS event_utc FROM unnest($2::bigint[], $3::bigint[]) AS w (tier_id, micros)
     ), policy AS MATERIALIZED (
       SELECT t.tier_id, t.acted_utc, n.newest_utc, (p.settings->'warming'->>'accesses')::bigint AS accesses,
         n.newest_utc - make_interval(secs => (p.settings->'warming'->>'window_seconds')::double precision) AS from_utc
       FROM (SELECT tier_id, max(event_utc) AS newest_utc FROM touch GROUP BY tier_id) n
       CROSS JOIN LATERAL (SELECT * FROM tier_object WHERE tenant_id = $1 AND tier_id = n.tier_id OFFSET 0) t
       JOIN tier_rule r ON r.tenant_id = $1 AND r.tenant_id = t.tenant_id AND r.rule_id = t.rule_id
       LEFT JOIN tier_rule f ON f.tenant_id = $1 AND f.tenant_id = r.tenant_id AND f.rule_name = r.rule_name AND f.retired_utc IS NULL
       CROSS JOIN LATERAL (SELECT coalesce(f.settings, r.settings) AS settings) p
       WHERE t.wanted_action IS NULL AND p.settings->'warming'->>'action' = 'rehydrate'
     ), counted AS (
       SELECT p.tier_id, count(*) AS accesses FROM policy p JOIN touch n ON n.tier_id = p.tier_id WHERE n.event_utc > p.from_utc GROUP BY p.tier_id
     )
     SELECT p.tier_id FROM policy p JOIN counted c ON c.tier_id = p.tier_id
     CROSS JOIN LATERAL (
       SELECT count(*) AS accesses FROM warming_event e
       WHERE e.tenant_id = $1 AND e.tier_id = p.tier_id AND e.event_utc > p.from_utc AND e.event_utc <= p.newest_utc
         AND NOT e.in_storm AND e.recorded_utc >= coalesce(p.acted_utc, '-infinity') OFFSET 0
     ) before
     WHERE c.accesses + before.accesses >= p.accesses`,
    [tenantId, plainArray(touches.map(({ tierId }) => tierId)), plainArray(touches.map(({ timeMicros }) => timeMicros))],
  );
  await requestRehydration(
    client,
    tenantId,
    rows.map(({ tier_id }) => tier_id),
    reason,
  );
}
