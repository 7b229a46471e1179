/**
 * Which files match which rules, and which of them a plan takes: the one place that says so. Preview, CompareRules, Explain
 * and Plan all build their statements on these two pieces of SQL, so none of them can differ from another.
 */
import { plannable } from "../tier/transitions.js";
import { isResident } from "../warming/residency.js";
import { checkExpression, toPredicate } from "./cel/index.js";
import { ageClassSql, sizeClassSql } from "./classes.js";
import { fileColumns, lastUsedSql } from "./columns.js";
import { heldSql } from "./held.js";
import type { AppliedRule } from "./rule-set.js";
import type { RuleOrder } from "./rule-settings.js";
import type { StatementParams } from "./statement.js";

/** Why no rule takes a file, in the order in which they are looked at: the first one counts. */
export const exclusionReasons = [
  "missing",
  "metadata_incomplete",
  "metadata_stale",
  "hard_links",
  "tiered",
  "resident",
  "target_pending",
  "held",
] as const;
export type ExclusionReason = (typeof exclusionReasons)[number];

export interface ClassifyRequest {
  tenantId: string;
  share: { share_id: bigint; share_name: string; case_sensitive: boolean };
  /** Enabled and for the share, in the order of application; at least one. */
  rules: readonly AppliedRule[];
  holdGlobs: string[];
  nowUnix: bigint;
}

/** SQL over `c`, `d` and `t` for each reason, true when it stands in the way, never null. Absent: nothing of the kind is possible. */
export function exclusionSql(request: ClassifyRequest, params: StatementParams): Partial<Record<ExclusionReason, string>> {
  const held = heldSql(request.holdGlobs, request.share.case_sensitive, params);
  return {
    missing: "c.missing_since_scan_id IS NOT NULL",
    metadata_incomplete: "(NOT c.metadata_complete OR c.size_bytes IS NULL OR c.mtime_unix IS NULL)",
    metadata_stale: "c.stale_metadata",
    hard_links: "(coalesce(c.link_count, 1) > 1)",
    tiered: "(coalesce(t.state IN ('PLANNED', 'STUBBED'), false))",
    resident: isResident("t", `to_timestamp(${params.add(request.nowUnix)}::bigint)`),
    target_pending: `(NOT ${plannable("t")} AND t.state NOT IN ('PLANNED', 'STUBBED'))`,
    // The only one that looks at the path: last.
    ...(held === undefined ? {} : { held }),
  };
}

/** The bit of a rule in `mask`, by its place in the order of application. */
export function bitOf(place: number): bigint {
  return 1n << BigInt(place);
}

/**
 * SELECT of the files that any rule matches, or, with `onlyFileId`, of that file whether or not one does:
 *   mask        bits of the rules that match; the lowest one's has the file
 *   reason      0, or 1 + the place of the first reason in exclusionReasons
 *   size_bytes, allocated_bytes, mtime_unix, last_used, frn    the file's values; never null but frn
 *   age_class, size_class    see classes.ts
 *   tier_id, old_state       of the tier object; null when there is none
 */
export function matchedSql(request: ClassifyRequest, params: StatementParams, onlyFileId?: bigint): string {
  const { tenantId, share, nowUnix } = request;
  const tenant = `${params.add(tenantId)}::uuid`;
  const shareId = `${params.add(share.share_id)}::bigint`;
  const columns = fileColumns(share.share_name, params);
  const predicates = request.rules.map((rule) => toPredicate(checkExpression(rule.expression), columns, params, nowUnix));
  const reasons = Object.entries(exclusionSql(request, params));
  const cases = reasons.map(([reason, sql]) => `WHEN ${sql} THEN ${exclusionReasons.indexOf(reason as ExclusionReason) + 1}`);
  const chosen = onlyFileId === undefined ? `(${predicates.join("\n OR ")})` : `c.file_current_id = ${params.add(onlyFileId)}::bigint`;
  // Not joined unless somebody looks at paths.
  const needsDir = [...predicates, ...cases].some((sql) => sql.includes("d.dir_path"));
  const dirs = `JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id AND d.tenant_id = ${tenant} AND d.share_id = ${shareId}`;
  return `SELECT c.tenant_id, c.file_current_id, ${maskSql(predicates, onlyFileId !== undefined)} AS mask, CASE ${cases.join("\n ")} ELSE 0 END AS reason,
    coalesce(c.size_bytes, 0) AS size_bytes, coalesce(c.allocated_bytes, 0) AS allocated_bytes, coalesce(c.mtime_unix, 0) AS mtime_unix,
    ${lastUsedSql} AS last_used, c.frn, ${ageClassSql(lastUsedSql, params.add(nowUnix))} AS age_class, ${sizeClassSql("coalesce(c.size_bytes, 0)")} AS size_class,
    t.tier_id, t.state AS old_state
  FROM file_current c
  ${needsDir ? dirs : ""}
  LEFT JOIN tier_object t ON t.tenant_id = c.tenant_id AND t.file_current_id = c.file_current_id AND t.tenant_id = ${tenant} AND t.share_id = ${shareId}
  WHERE c.tenant_id = ${tenant} AND c.share_id = ${shareId} AND ${chosen}`;
}

/** With one rule its WHERE has said it already. */
function maskSql(predicates: string[], unfiltered: boolean): string {
  if (predicates.length === 1 && !unfiltered) return "1::bigint";
  return predicates.map((predicate, place) => `CASE WHEN ${predicate} THEN ${bitOf(place)}::bigint ELSE 0 END`).join(" | ");
}

const matchedColumns =
  "tenant_id, file_current_id, mask, reason, size_bytes, allocated_bytes, mtime_unix, last_used, frn, age_class, size_class, tier_id, old_state";

/** SQL: the bit of the rule that has the file. */
export const ruleBitSql = "(mask & -mask)";

const orderSql: Readonly<Record<RuleOrder, string>> = { coldest: "last_used", largest: "-size_bytes", oldest: "mtime_unix" };

export function hasCaps({ settings }: AppliedRule): boolean {
  return settings.max_files !== null || settings.max_bytes !== null;
}

/**
 * SELECT of those rows of `matched` that a plan takes, of the rules that `wanted` names (default: all). A cap by bytes ends where the
 * next file in the order would go beyond it; a file that alone is beyond it is passed over, or it would stand in the way for ever.
 */
export function chosenSql(
  rules: readonly AppliedRule[],
  params: StatementParams,
  wanted: (rule: AppliedRule) => boolean = () => true,
): string | undefined {
  const places = rules.map((rule, place) => ({ rule, bit: bitOf(place) })).filter(({ rule }) => wanted(rule));
  const free = places.filter(({ rule }) => !hasCaps(rule)).map(({ bit }) => bit);
  const parts = places.filter(({ rule }) => hasCaps(rule)).map(({ rule, bit }) => cappedSql(rule, bit, params));
  if (free.length > 0) parts.unshift(`SELECT ${matchedColumns} FROM matched WHERE reason = 0 AND ${ruleBitSql} IN (${free.join(", ")})`);
  return parts.length === 0 ? undefined : parts.map((part) => `(${part})`).join("\n UNION ALL ");
}

function cappedSql({ settings }: AppliedRule, bit: bigint, params: StatementParams): string {
  const { max_files: maxFiles, max_bytes: maxBytes, order } = settings;
  const key = `${orderSql[order]}, file_current_id`;
  const fits = maxBytes === null ? "" : `AND size_bytes <= ${params.add(maxBytes)}::bigint`;
  const first = `SELECT ${matchedColumns} FROM matched WHERE reason = 0 AND ${ruleBitSql} = ${bit} ${fits}
    ORDER BY ${key} ${maxFiles === null ? "" : `LIMIT ${params.add(maxFiles)}::bigint`}`;
  if (maxBytes === null) return first;
  return `SELECT ${matchedColumns} FROM (SELECT *, sum(size_bytes) OVER (ORDER BY ${key} ROWS UNBOUNDED PRECEDING) AS running FROM (${first}) inorder) summed
    WHERE running <= ${params.add(maxBytes)}::bigint`;
}
