/**
 * Which files match which rules, and which of them a plan takes: the one place that says so. Preview, CompareRules, Explain
 * and Plan all build their statements on these two pieces of SQL, so none of them can differ from another.
 */
import { plannable } from "../tier/transitions.js";
import { isResident } from "../warming/residency.js";
import { checkExpression, toPredicate } from "./cel/index.js";
import { ageClassSql, sizeClassSql } from "./classes.js";
import { fileColumns, lastUsedSql, pathSql } from "./columns.js";
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

/**
 * SQL for each reason, true when it stands in the way, over `f`: columns of file_current, and of the file's tier object, which are null
 * when there is none; dir_path too, if there are holds. Absent: nothing of the kind is possible.
 */
export function exclusionSql(request: ClassifyRequest, params: StatementParams): Partial<Record<ExclusionReason, string>> {
  const held = heldSql(request.holdGlobs, request.share.case_sensitive, pathSql("f", "f"), params);
  const resident = isResident("f", `to_timestamp(${params.add(request.nowUnix)}::bigint)`);
  return {
    missing: "f.missing_since_scan_id IS NOT NULL",
    metadata_incomplete: "(NOT f.metadata_complete OR f.size_bytes IS NULL OR f.mtime_unix IS NULL)",
    metadata_stale: "f.stale_metadata",
    hard_links: "f.link_count > 1",
    // Most files have no object: one look is enough for them.
    tiered: "(f.tier_id IS NOT NULL AND f.state IN ('PLANNED', 'STUBBED'))",
    resident: `(f.tier_id IS NOT NULL AND ${resident})`,
    target_pending: `(f.tier_id IS NOT NULL AND f.state NOT IN ('PLANNED', 'STUBBED') AND NOT ${plannable("f")})`,
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
  const { share, nowUnix } = request;
  const columns = fileColumns(share.share_name, params);
  const predicates = request.rules.map((rule) => toPredicate(checkExpression(rule.expression), columns, params, nowUnix));
  const reasons = Object.entries(exclusionSql(request, params));
  const cases = reasons.map(([reason, sql]) => `WHEN ${sql} THEN ${exclusionReasons.indexOf(reason as ExclusionReason) + 1}`);
  const needsPath = cases.some((sql) => sql.includes("f.dir_path"));
  const lastUsed = lastUsedSql("f");
  return `SELECT f.tenant_id, f.file_current_id, f.mask, CASE ${cases.join("\n ")} ELSE 0 END AS reason,
    coalesce(f.size_bytes, 0) AS size_bytes, coalesce(f.allocated_bytes, 0) AS allocated_bytes, coalesce(f.mtime_unix, 0) AS mtime_unix,
    ${lastUsed} AS last_used, f.frn, ${ageClassSql(lastUsed, params.add(nowUnix))} AS age_class, ${sizeClassSql("coalesce(f.size_bytes, 0)")} AS size_class,
    f.tier_id, f.state AS old_state
  FROM (${maskedSql(request, params, predicates, needsPath, onlyFileId)}) f
  ${onlyFileId === undefined ? "WHERE f.mask <> 0" : ""}`;
}

/** With one rule a WHERE is all. With several each is asked once for each file: behind OFFSET '0' (see count.ts), or a mask would be calculated anew wherever it is used. */
function maskedSql(
  { tenantId, share }: ClassifyRequest,
  params: StatementParams,
  predicates: string[],
  needsPath: boolean,
  onlyFileId: bigint | undefined,
): string {
  const tenant = `${params.add(tenantId)}::uuid`;
  const shareId = `${params.add(share.share_id)}::bigint`;
  const single = predicates.length === 1 && onlyFileId === undefined;
  const mask = predicates.map((predicate, place) => `CASE WHEN ${predicate} THEN ${bitOf(place)}::bigint ELSE 0 END`).join(" | ");
  const only = single
    ? `AND ${predicates[0]}`
    : onlyFileId === undefined
      ? ""
      : `AND c.file_current_id = ${params.add(onlyFileId)}::bigint`;
  // Not joined unless somebody looks at paths.
  const dirs =
    needsPath || mask.includes("d.dir_path")
      ? `JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id AND d.tenant_id = ${tenant} AND d.share_id = ${shareId}`
      : "";
  return `SELECT c.tenant_id, c.file_current_id, c.name, c.size_bytes, c.allocated_bytes, c.atime_unix, c.mtime_unix, c.frn, c.link_count, c.metadata_complete,
      c.stale_metadata, c.missing_since_scan_id, ${needsPath ? "d.dir_path," : ""} t.tier_id, t.state, t.wanted_action, t.resident_until_utc,
      ${single ? "1::bigint" : mask} AS mask
    FROM file_current c ${dirs}
    LEFT JOIN tier_object t ON t.tenant_id = c.tenant_id AND t.file_current_id = c.file_current_id AND t.tenant_id = ${tenant} AND t.share_id = ${shareId}
    WHERE c.tenant_id = ${tenant} AND c.share_id = ${shareId} ${only}
    ${single ? "" : "OFFSET '0'"}`;
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
