/** Versions of rules as rows. */
import type { ClientBase } from "pg";
import { byPriority, type RuleVersion } from "./rule.js";
import type { RuleSettings } from "./rule-settings.js";

interface RuleRow {
  rule_id: bigint;
  version: number;
  rule_name: string;
  description: string;
  priority: number;
  enabled: boolean;
  expression: string;
  target_uri: string;
  settings: RuleSettings;
  created_utc: Date;
  created_by: string;
  retired_utc: Date | null;
  retired_by: string | null;
}

function toVersion(row: RuleRow): RuleVersion {
  return {
    ruleId: row.rule_id,
    version: row.version,
    name: row.rule_name,
    description: row.description,
    priority: row.priority,
    enabled: row.enabled,
    expression: row.expression,
    targetUri: row.target_uri,
    settings: row.settings,
    createdUtc: row.created_utc,
    createdBy: row.created_by,
    retiredUtc: row.retired_utc,
    retiredBy: row.retired_by,
  };
}

/** In the order of application. */
export async function loadRulesInForce(client: ClientBase, tenantId: string): Promise<RuleVersion[]> {
  const { rows } = await client.query<RuleRow>(
    `SELECT rule_id, version, rule_name, description, priority, enabled, expression, target_uri, settings, created_utc, created_by, retired_utc, retired_by
     FROM tier_rule WHERE tenant_id = $1 AND retired_utc IS NULL`,
    [tenantId],
  );
  return rows.map(toVersion).sort(byPriority);
}

/** Versions in force and retired, by their ids. */
export async function loadRuleVersions(client: ClientBase, tenantId: string, ruleIds: bigint[]): Promise<RuleVersion[]> {
  const { rows } = await client.query<RuleRow>(
    `SELECT rule_id, version, rule_name, description, priority, enabled, expression, target_uri, settings, created_utc, created_by, retired_utc, retired_by
     FROM tier_rule WHERE tenant_id = $1 AND rule_id = ANY($2::bigint[])`,
    [tenantId, ruleIds],
  );
  return rows.map(toVersion);
}

/** All versions, the newest first, older than `beforeId`; of one name unless that is empty. */
export async function pageOfVersions(
  client: ClientBase,
  tenantId: string,
  name: string,
  beforeId: bigint | undefined,
  limit: number,
): Promise<RuleVersion[]> {
  const { rows } = await client.query<RuleRow>(
    `SELECT rule_id, version, rule_name, description, priority, enabled, expression, target_uri, settings, created_utc, created_by, retired_utc, retired_by
     FROM tier_rule WHERE tenant_id = $1 AND ($2 = '' OR rule_name = $2) AND ($3::bigint IS NULL OR rule_id < $3)
     ORDER BY rule_id DESC LIMIT $4`,
    [tenantId, name, beforeId ?? null, limit],
  );
  return rows.map(toVersion);
}

/** One version, or with version 0 the one in force. */
export async function findVersion(client: ClientBase, tenantId: string, name: string, version: number): Promise<RuleVersion | undefined> {
  const { rows } = await client.query<RuleRow>(
    `SELECT rule_id, version, rule_name, description, priority, enabled, expression, target_uri, settings, created_utc, created_by, retired_utc, retired_by
     FROM tier_rule WHERE tenant_id = $1 AND rule_name = $2 AND CASE $3::integer WHEN 0 THEN retired_utc IS NULL ELSE version = $3 END`,
    [tenantId, name, version],
  );
  return rows.map(toVersion)[0];
}
