/** Bringing the rules in force to what is asked. */
import type { ClientBase, Pool } from "pg";
import { inTenant, readTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { actorOf } from "../tenancy/actor.js";
import type { RuleSpec } from "./rule.js";
import { loadRulesInForce } from "./rule-rows.js";
import { type AppliedRule, changesOf, etagOf, type RuleChange, type RuleSet, rulesAfter } from "./rule-set.js";

export interface AppliedChanges {
  changes: RuleChange[];
  /** Of the rules in force afterwards. */
  etag: string;
}

/** What applying them would change; throws as changesOf. */
export async function previewRuleSet(pool: Pool, tenantId: string, ruleSet: RuleSet): Promise<AppliedChanges> {
  return readTenant(pool, tenantId, async (client) => {
    const inForce = await loadRulesInForce(client, tenantId);
    return { changes: changesOf(inForce, ruleSet, await loadShareNames(client, tenantId)), etag: etagOf(inForce) };
  });
}

/**
 * All or nothing. Throws as changesOf, and ABORTED (RULES_CHANGED) when something is to change and the rules in force are not
 * those of `expectedEtag` (undefined: whatever they are). What is in force already keeps its version.
 */
export async function applyRuleSet(
  pool: Pool,
  tenantId: string,
  callerId: string,
  ruleSet: RuleSet,
  expectedEtag: string | undefined,
): Promise<AppliedChanges> {
  return inTenant(pool, tenantId, async (client) => {
    await lockRules(client, tenantId);
    const inForce = await loadRulesInForce(client, tenantId);
    const changes = changesOf(inForce, ruleSet, await loadShareNames(client, tenantId));
    const actual = changes.filter(({ kind }) => kind !== "unchanged");
    if (actual.length === 0) return { changes, etag: etagOf(inForce) };
    assertEtag(etagOf(inForce), expectedEtag);
    const actor = await actorOf(client, tenantId, callerId);
    const retired = actual.flatMap((change) => ("before" in change ? [change.before.ruleId] : []));
    await retireVersions(client, tenantId, retired, actor);
    await insertVersions(
      client,
      tenantId,
      actual.flatMap((change) => ("after" in change ? [change.after] : [])),
      actor,
    );
    return { changes, etag: etagOf(await loadRulesInForce(client, tenantId)) };
  });
}

/** Retires the rule; returns the etag afterwards. Throws NOT_FOUND, and ABORTED as applyRuleSet. */
export async function deleteRule(
  pool: Pool,
  tenantId: string,
  callerId: string,
  name: string,
  expectedEtag: string | undefined,
): Promise<string> {
  return inTenant(pool, tenantId, async (client) => {
    await lockRules(client, tenantId);
    const inForce = await loadRulesInForce(client, tenantId);
    const rule = inForce.find((candidate) => candidate.name === name);
    if (rule === undefined) throw ruleNotFound(name, 0);
    assertEtag(etagOf(inForce), expectedEtag);
    await retireVersions(client, tenantId, [rule.ruleId], await actorOf(client, tenantId, callerId));
    return etagOf(inForce.filter((candidate) => candidate !== rule));
  });
}

/** Those in force; with a rule set those that applying it would leave. Throws as changesOf. */
export async function rulesToApply(client: ClientBase, tenantId: string, candidate: RuleSet | undefined): Promise<AppliedRule[]> {
  const inForce = await loadRulesInForce(client, tenantId);
  return candidate === undefined ? inForce : rulesAfter(changesOf(inForce, candidate, await loadShareNames(client, tenantId)));
}

export function ruleNotFound(name: string, version: number): DomainError {
  const what = version === 0 ? "in force" : `of version ${version}`;
  return new DomainError("NOT_FOUND", `No rule named ${JSON.stringify(name)} ${what}. ListRules shows those there are.`, {
    reason: "RULE_NOT_FOUND",
    metadata: { rule: name },
  });
}

/** Whoever changes rules does so alone. A statement of its own: what is read after it is read in a snapshot taken after it. */
async function lockRules(client: ClientBase, tenantId: string): Promise<void> {
  await client.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [`rules ${tenantId}`]);
}

function assertEtag(etag: string, expected: string | undefined): void {
  if (expected === undefined || expected === etag) return;
  throw new DomainError("ABORTED", "The rules were changed meanwhile. Look at what would change now, and apply again.", {
    reason: "RULES_CHANGED",
    metadata: { etag },
  });
}

async function loadShareNames(client: ClientBase, tenantId: string): Promise<Set<string>> {
  const { rows } = await client.query<{ share_name: string }>("SELECT share_name FROM share WHERE tenant_id = $1", [tenantId]);
  return new Set(rows.map((row) => row.share_name));
}

async function retireVersions(client: ClientBase, tenantId: string, ruleIds: bigint[], actor: string): Promise<void> {
  await client.query("UPDATE tier_rule SET retired_utc = now(), retired_by = $3 WHERE tenant_id = $1 AND rule_id = ANY($2::bigint[])", [
    tenantId,
    ruleIds,
    actor,
  ]);
}

/** Versions count on where the name's last one ended, retired or not. */
async function insertVersions(client: ClientBase, tenantId: string, rules: RuleSpec[], actor: string): Promise<void> {
  for (const rule of rules) {
    await client.query(
      `INSERT INTO tier_rule (tenant_id, version, rule_name, description, priority, enabled, expression, target_uri, settings, created_by)
       SELECT $1, (SELECT coalesce(max(version), 0) + 1 FROM tier_rule WHERE tenant_id = $1 AND rule_name = $2), $2, $3, $4, $5, $6, $7, $8, $9`,
      [
        tenantId,
        rule.name,
        rule.description,
        rule.priority,
        rule.enabled,
        rule.expression,
        rule.targetUri,
        JSON.stringify(rule.settings),
        actor,
      ],
    );
  }
}
