/** Whether planned files still satisfy what they were planned by, asked as a mover claims them. */
import type { ClientBase } from "pg";
import { checkExpression, toPredicate } from "./cel/index.js";
import { fileColumns, pathSql } from "./columns.js";
import { heldSql } from "./held.js";
import { loadHolds } from "./holds.js";
import { loadRuleVersions } from "./rule-rows.js";
import { StatementParams } from "./statement.js";

/** The state that the file had when it was planned: by now it is PLANNED. */
const stateBefore = `coalesce((SELECT l.old_state FROM audit_log l WHERE l.tenant_id = t.tenant_id AND l.file_current_id = t.file_current_id
  AND l.kind = 'tier' AND l.new_state = 'PLANNED' ORDER BY l.recorded_utc DESC LIMIT 1), '')`;

interface PlannedBy {
  share_id: bigint;
  share_name: string;
  case_sensitive: boolean;
  rule_id: bigint | null;
  tier_ids: bigint[];
}

/**
 * Those of the objects `tierIds` whose rule version still matches, at this moment, and that no hold covers and that have one name.
 * Within the caller's transaction.
 */
export async function stillMatches(client: ClientBase, tenantId: string, tierIds: readonly bigint[]): Promise<bigint[]> {
  const nowUnix = BigInt(Math.floor(Date.now() / 1000));
  const groups = await groupsOf(client, tenantId, tierIds);
  const rules = await loadRuleVersions(
    client,
    tenantId,
    groups.flatMap(({ rule_id }) => (rule_id === null ? [] : [rule_id])),
  );
  const matching: bigint[] = [];
  for (const group of groups) {
    const rule = rules.find(({ ruleId }) => ruleId === group.rule_id);
    matching.push(...(await matchingOf(client, tenantId, group, rule?.expression, nowUnix)));
  }
  return matching;
}

async function groupsOf(client: ClientBase, tenantId: string, tierIds: readonly bigint[]): Promise<PlannedBy[]> {
  const { rows } = await client.query<PlannedBy>(
    `SELECT h.share_id, h.share_name, h.case_sensitive, t.rule_id, array_agg(t.tier_id) AS tier_ids
     FROM tier_object t JOIN share h ON h.tenant_id = t.tenant_id AND h.share_id = t.share_id
     WHERE t.tenant_id = $1 AND h.tenant_id = $1 AND t.tier_id = ANY($2::bigint[]) AND t.state = 'PLANNED'
     GROUP BY h.share_id, h.share_name, h.case_sensitive, t.rule_id`,
    [tenantId, tierIds],
  );
  return rows;
}

/** An object that no rule version planned has only the other conditions. */
async function matchingOf(
  client: ClientBase,
  tenantId: string,
  group: PlannedBy,
  expression: string | undefined,
  nowUnix: bigint,
): Promise<bigint[]> {
  const params = new StatementParams();
  const tenant = `${params.add(tenantId)}::uuid`;
  const columns = fileColumns(group.share_name, params, stateBefore);
  const matches = expression === undefined ? "true" : toPredicate(checkExpression(expression), columns, params, nowUnix);
  const holds = await loadHolds(client, tenantId, group.share_id);
  const held = heldSql(
    holds.map(({ path_glob }) => path_glob),
    group.case_sensitive,
    pathSql("c", "d"),
    params,
  );
  const { rows } = await client.query<{ tier_id: bigint }>(
    `SELECT t.tier_id FROM unnest(${params.add(group.tier_ids)}::bigint[]) AS wanted (tier_id)
     CROSS JOIN LATERAL (SELECT * FROM tier_object WHERE tenant_id = ${tenant} AND tier_id = wanted.tier_id OFFSET 0) t
     CROSS JOIN LATERAL (SELECT * FROM file_current WHERE tenant_id = ${tenant} AND tenant_id = t.tenant_id AND file_current_id = t.file_current_id OFFSET 0) c
     JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id
     WHERE d.tenant_id = ${tenant} AND coalesce(c.link_count, 1) <= 1
       AND ${matches} AND NOT ${held ?? "false"}`,
    params.values,
  );
  return rows.map((row) => row.tier_id);
}
