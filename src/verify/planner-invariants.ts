/** What must always be true of plans; see invariants.ts. */
import type { Invariant } from "./invariants.js";

export const plannerInvariants: Invariant[] = [
  {
    name: "tier_object-plan",
    holds: "a tier object's plan is of its share, and its rule version exists",
    sql: `SELECT format('tier_object %s: plan %s of share %s, rule %s version %s', t.tier_id, t.plan_id, t.share_id, t.rule_id, t.rule_version) AS row
      FROM tier_object t
      LEFT JOIN tier_plan p ON p.tenant_id = t.tenant_id AND p.plan_id = t.plan_id AND p.share_id = t.share_id
      LEFT JOIN tier_rule r ON r.tenant_id = t.tenant_id AND r.rule_id = t.rule_id AND r.version = t.rule_version
      WHERE t.tenant_id = $1 AND ((t.plan_id IS NOT NULL AND p.plan_id IS NULL) OR (t.rule_id IS NOT NULL AND r.rule_id IS NULL))`,
  },
  {
    name: "tier_plan-objects",
    holds: "no plan has more objects than it planned",
    sql: `SELECT format('tier_plan %s: %s planned, %s objects', p.plan_id, p.planned_files, count(*)) AS row FROM tier_plan p
      JOIN tier_object t ON t.tenant_id = p.tenant_id AND t.plan_id = p.plan_id
      WHERE p.tenant_id = $1 AND t.tenant_id = $1 GROUP BY p.plan_id, p.planned_files HAVING count(*) > p.planned_files`,
  },
  {
    name: "tier_plan-funnel",
    holds: "of each rule of a plan every file that matched is accounted for, and what the rules planned is what the plan did",
    sql: `SELECT format('tier_plan %s: planned %s, of which by its rules %s; %s files of them unaccounted for', plan_id, planned_files, by_rules, lost) AS row FROM (
        SELECT p.plan_id, p.planned_files, p.funnel->'planned'->>'files' AS total, coalesce(sum((r.f->'planned'->>'files')::bigint), 0) AS by_rules,
          coalesce(sum((r.f->'matched'->>'files')::bigint - (r.f->'taken'->>'files')::bigint - (r.f->'capped'->>'files')::bigint - (r.f->'planned'->>'files')::bigint
            - (SELECT coalesce(sum((e.value->>'files')::bigint), 0) FROM jsonb_each(r.f->'excluded') e)), 0) AS lost
        FROM tier_plan p LEFT JOIN LATERAL jsonb_array_elements(p.funnel->'rules') r (f) ON true
        WHERE p.tenant_id = $1 GROUP BY p.plan_id, p.planned_files, p.funnel
      ) counted WHERE lost <> 0 OR by_rules <> planned_files OR total <> planned_files::text`,
  },
];
