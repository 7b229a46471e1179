/** Why one file would be planned, or not. */
import type { ClientBase, Pool } from "pg";
import { readTenant } from "../db/tenant.js";
import { checkExpression, type ExplainedTerm, explainTerms, type FileValues } from "./cel/index.js";
import { bitOf, type ExclusionReason, exclusionReasons, exclusionSql, matchedSql } from "./classify.js";
import { detailOf } from "./condition-detail.js";
import { type ExplainedFile, findExplainedFile, loadExplainedFile } from "./explained-file.js";
import { empty } from "./funnel.js";
import type { AppliedRule, RuleSet } from "./rule-set.js";
import { loadSituation, type Refusal, refusalsOf, type Situation } from "./situation.js";
import { plannerSettings, StatementParams } from "./statement.js";

/**
 * not_applied: disabled, or not for the share; excluded: a condition stands in the way; taken: by a rule before it;
 * planned: within the rule's caps, which depend on all other files.
 */
export type Verdict = "not_applied" | "not_matched" | "excluded" | "taken" | "planned";

export interface RuleExplanation {
  rule: AppliedRule;
  verdict: Verdict;
  terms: ExplainedTerm;
}

export interface FileCondition {
  reason: ExclusionReason;
  passed: boolean;
  /** What was found. */
  detail: string;
}

export interface Explanation {
  file: ExplainedFile;
  share: Situation["share"];
  conditions: FileCondition[];
  /** All there are, in the order of application. */
  rules: RuleExplanation[];
  /** Of the share; without the brake, which depends on all files. */
  refusals: Refusal[];
}

/** `path` in the share's own style. Throws NOT_FOUND (share, file), INVALID_ARGUMENT (path, candidate). */
export async function explainFile(
  pool: Pool,
  tenantId: string,
  request: { shareName: string; path: string; candidate?: RuleSet | undefined; nowUnix: bigint },
): Promise<Explanation> {
  return readTenant(pool, tenantId, async (client) => {
    await client.query(`${plannerSettings}; SET LOCAL enable_nestloop = on`);
    const situation = await loadSituation(client, tenantId, request.shareName, request.nowUnix, request.candidate);
    const fileId = await findExplainedFile(client, tenantId, situation.share, request.path);
    const file = await loadExplainedFile(client, situation, fileId);
    const conditions = await conditionsOf(client, situation, file);
    const mask = await maskOf(client, situation, fileId);
    const free = conditions.every(({ passed }) => passed);
    const values = valuesOf(situation, file);
    const rules = situation.allRules.map((rule) => ({
      rule,
      verdict: verdictOf(situation, rule, mask, free),
      terms: explainTerms(checkExpression(rule.expression), values, request.nowUnix),
    }));
    return { file, share: situation.share, conditions, rules, refusals: refusalsOf(situation, empty()) };
  });
}

function verdictOf({ rules }: Situation, rule: AppliedRule, mask: bigint, free: boolean): Verdict {
  const place = rules.indexOf(rule);
  if (place < 0) return "not_applied";
  const bit = bitOf(place);
  if ((mask & bit) === 0n) return "not_matched";
  if (!free) return "excluded";
  return (mask & -mask) === bit ? "planned" : "taken";
}

/** By the statement that plans. */
async function maskOf(client: ClientBase, situation: Situation, fileId: bigint): Promise<bigint> {
  if (situation.rules.length === 0) return 0n;
  const params = new StatementParams();
  const { rows } = await client.query<{ mask: bigint }>(
    `SELECT mask FROM (${matchedSql(situation, params, fileId)}) matched`,
    params.values,
  );
  return rows[0]?.mask ?? 0n;
}

/** Each by the SQL that a plan asks. */
async function conditionsOf(client: ClientBase, situation: Situation, file: ExplainedFile): Promise<FileCondition[]> {
  const params = new StatementParams();
  const excluded = exclusionSql(situation, params);
  const columns = Object.entries(excluded).map(([reason, sql]) => `${sql} AS ${reason}`);
  const { rows } = await client.query<Partial<Record<ExclusionReason, boolean>>>(
    `SELECT ${columns.join(", ")} FROM (
       SELECT c.*, d.dir_path, t.tier_id, t.state, t.wanted_action, t.resident_until_utc
       FROM file_current c JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id
       LEFT JOIN tier_object t ON t.tenant_id = c.tenant_id AND t.file_current_id = c.file_current_id
       WHERE c.tenant_id = ${params.add(situation.tenantId)} AND c.file_current_id = ${params.add(file.file_current_id)}
     ) f`,
    params.values,
  );
  return exclusionReasons.map((reason) => ({
    reason,
    passed: rows[0]?.[reason] !== true,
    detail: detailOf(reason, file, situation),
  }));
}

function valuesOf({ share }: Situation, file: ExplainedFile): FileValues {
  const [atime, mtime] = [file.atime_unix ?? 0n, file.mtime_unix ?? 0n];
  return {
    share: share.share_name,
    path: file.path,
    dir: file.dir_path,
    name: file.name,
    extension: file.file_extension,
    owner: file.owner ?? "",
    size: file.size_bytes ?? 0n,
    atime,
    mtime,
    ctime: file.ctime_unix ?? 0n,
    last_used: atime > mtime ? atime : mtime,
    tier_state: file.state ?? "",
  };
}
