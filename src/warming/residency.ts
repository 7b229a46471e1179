/**
 * How long a file that came back stays on its share.
 *
 * One that is needed again and again would go to and fro between share and target. So it stays for the rule's residency, and
 * each time that it comes back within `max_residency_seconds` of the end of the last one, `backoff_factor` times longer.
 */
import type { ClientBase } from "pg";
import { plainArray } from "../db/array-literals.js";
import { defaultRuleSettings } from "../planner/rule-settings.js";

/** Times that make it longer: no power of a factor within its limit overflows in so many. */
const backoffStepsAtMost = 50;
const backoffFactorAtMost = 100_000;

/**
 * Begins the residency of objects that have just become REHYDRATED, in the transaction that made them so. Its length is that of
 * the rule version which planned the object; without one, of a rule's defaults.
 */
export async function beginResidency(client: ClientBase, tenantId: string, tierIds: readonly bigint[]): Promise<void> {
  if (tierIds.length === 0) return;
  const { residency_seconds, backoff_factor, max_residency_seconds } = defaultRuleSettings;
  await client.query(
    `WITH setting AS (
       SELECT t.tenant_id, t.tier_id,
         coalesce((r.settings->>'residency_seconds')::double precision, $3) AS first_seconds,
         coalesce((r.settings->>'backoff_factor')::double precision, $4) AS factor,
         coalesce((r.settings->>'max_residency_seconds')::double precision, $5) AS most_seconds
       FROM tier_object t LEFT JOIN tier_rule r ON r.tenant_id = $1 AND r.tenant_id = t.tenant_id AND r.rule_id = t.rule_id
       WHERE t.tenant_id = $1 AND t.tier_id = ANY($2::bigint[])
     ), counted AS (
       SELECT s.*, CASE WHEN t.resident_until_utc + make_interval(secs => s.most_seconds) >= now() THEN t.rehydration_count + 1 ELSE 1 END AS times
       FROM setting s JOIN tier_object t ON t.tenant_id = $1 AND t.tenant_id = s.tenant_id AND t.tier_id = s.tier_id
     )
     UPDATE tier_object t SET rehydration_count = c.times,
       resident_until_utc = now() + make_interval(secs =>
         least(c.most_seconds, c.first_seconds * power(least(c.factor, $7), least(c.times - 1, $6::integer))))
     FROM counted c WHERE t.tenant_id = $1 AND t.tenant_id = c.tenant_id AND t.tier_id = c.tier_id`,
    [tenantId, plainArray([...tierIds]), residency_seconds, backoff_factor, max_residency_seconds, backoffStepsAtMost, backoffFactorAtMost],
  );
}

/** SQL, never null: whether the object `t`, or the nulls of an outer join, is to be left alone at the moment `nowSql`, a timestamptz. */
export function isResident(t: string, nowSql = "now()"): string {
  return `coalesce(${t}.state = 'REHYDRATED' AND ${t}.resident_until_utc > ${nowSql}, false)`;
}
