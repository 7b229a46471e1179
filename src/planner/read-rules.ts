/** Rules as they are read: one, those in force, or all versions. */
import type { Pool } from "pg";
import { readTenant } from "../db/tenant.js";
import { ruleNotFound } from "./apply-rules.js";
import type { RuleVersion } from "./rule.js";
import { findVersion, loadRulesInForce, pageOfVersions } from "./rule-rows.js";
import { etagOf } from "./rule-set.js";

/** Version 0: the one in force. Throws NOT_FOUND. */
export async function getRule(pool: Pool, tenantId: string, name: string, version: number): Promise<RuleVersion> {
  return readTenant(pool, tenantId, async (client) => {
    const rule = await findVersion(client, tenantId, name, version);
    if (rule === undefined) throw ruleNotFound(name, version);
    return rule;
  });
}

/** In the order of application; at most rulesInForceAtMost. */
export async function listRulesInForce(pool: Pool, tenantId: string): Promise<{ rules: RuleVersion[]; etag: string }> {
  return readTenant(pool, tenantId, async (client) => {
    const rules = await loadRulesInForce(client, tenantId);
    return { rules, etag: etagOf(rules) };
  });
}

/** Of one name, or of all when it is empty: the newest first, with ids below `beforeId`. */
export async function listVersions(
  pool: Pool,
  tenantId: string,
  name: string,
  beforeId: bigint | undefined,
  limit: number,
): Promise<{ rules: RuleVersion[]; etag: string }> {
  return readTenant(pool, tenantId, async (client) => ({
    rules: await pageOfVersions(client, tenantId, name, beforeId, limit),
    etag: etagOf(await loadRulesInForce(client, tenantId)),
  }));
}
