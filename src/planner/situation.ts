/** What a share is planned by: its rules, its holds, and what stands in the way of a plan at all. */
import type { ClientBase } from "pg";
import { DomainError } from "../errors.js";
import { requireShare, type Share } from "../tenancy/shares.js";
import { rulesToApply } from "./apply-rules.js";
import type { ClassifyRequest } from "./classify.js";
import type { Totals } from "./funnel.js";
import { loadHolds } from "./holds.js";
import type { AppliedRule, RuleSet } from "./rule-set.js";

export interface Situation extends ClassifyRequest {
  share: Share;
  /** Also those that are disabled or not for the share. */
  allRules: AppliedRule[];
  /** Of the last complete scan; undefined when there was none. */
  scanned: { files: bigint; bytes: bigint } | undefined;
}

/** Why a plan would be refused, and why Plan is. */
export interface Refusal {
  reason: "NO_RULES" | "NO_COMPLETE_SCAN" | "SCAN_TOO_OLD" | "PLAN_BRAKE";
  message: string;
  metadata: Record<string, string>;
}

export function appliesTo(rule: AppliedRule, shareName: string): boolean {
  const { share_names } = rule.settings;
  return rule.enabled && (share_names.length === 0 || share_names.includes(shareName));
}

/** By the rules in force, or those that applying `candidate` would leave. Throws NOT_FOUND (share), INVALID_ARGUMENT (candidate). */
export async function loadSituation(
  client: ClientBase,
  tenantId: string,
  shareName: string,
  nowUnix: bigint,
  candidate?: RuleSet,
): Promise<Situation> {
  const share = await requireShare(client, tenantId, shareName);
  const allRules = await rulesToApply(client, tenantId, candidate);
  return {
    tenantId,
    share,
    allRules,
    rules: allRules.filter((rule) => appliesTo(rule, shareName)),
    holdGlobs: (await loadHolds(client, tenantId, share.share_id)).map((hold) => hold.path_glob),
    nowUnix,
    scanned: await loadScanned(client, tenantId, share),
  };
}

async function loadScanned(client: ClientBase, tenantId: string, share: Share): Promise<Situation["scanned"]> {
  if (share.last_complete_scan_id === null) return undefined;
  const { rows } = await client.query<{ files: bigint; bytes: bigint }>(
    "SELECT files_listed AS files, bytes_listed AS bytes FROM scan WHERE tenant_id = $1 AND scan_id = $2",
    [tenantId, share.last_complete_scan_id],
  );
  return rows[0];
}

/** All that Plan would refuse; `planned` is what it would take. */
export function refusalsOf(situation: Situation, planned: Totals): Refusal[] {
  const { rules, share, nowUnix } = situation;
  const name = JSON.stringify(share.share_name);
  if (rules.length === 0)
    return [{ reason: "NO_RULES", message: `No rule is in force for the share ${name}. Apply one: see docs/rules.md.`, metadata: {} }];
  if (share.last_complete_utc === null || situation.scanned === undefined)
    return [{ reason: "NO_COMPLETE_SCAN", message: `The share ${name} was never scanned completely. Scan it first.`, metadata: {} }];
  const ageSeconds = nowUnix - BigInt(Math.floor(share.last_complete_utc.getTime() / 1000));
  return [tooOld(rules, name, ageSeconds), overBrake(rules, name, situation.scanned, planned)].filter((refusal) => refusal !== undefined);
}

function tooOld(rules: readonly AppliedRule[], name: string, ageSeconds: bigint): Refusal | undefined {
  const strictest = least(rules, ({ settings }) => settings.max_scan_age_seconds);
  const limit = strictest.settings.max_scan_age_seconds;
  if (ageSeconds <= BigInt(limit)) return undefined;
  return {
    reason: "SCAN_TOO_OLD",
    message: `The last complete scan of the share ${name} ended ${ageSeconds} s ago; rule ${JSON.stringify(strictest.name)} allows ${limit} s. Scan it again first.`,
    metadata: { rule: strictest.name, age_seconds: String(ageSeconds), limit_seconds: String(limit) },
  };
}

/** Of what the last complete scan listed: that is there to read, a count of the share would be a pass of its own. */
function overBrake(
  rules: readonly AppliedRule[],
  name: string,
  scanned: { files: bigint; bytes: bigint },
  planned: Totals,
): Refusal | undefined {
  const strictest = least(rules, ({ settings }) => settings.brake_percent);
  const percent = strictest.settings.brake_percent;
  const over = (part: bigint, whole: bigint) => part * 100n > whole * BigInt(percent);
  if (!over(planned.files, scanned.files) && !over(planned.bytes, scanned.bytes)) return undefined;
  return {
    reason: "PLAN_BRAKE",
    message:
      `The plan would take ${planned.files} of the ${scanned.files} files of the share ${name} and ${planned.bytes} of ${scanned.bytes} bytes; ` +
      `rule ${JSON.stringify(strictest.name)} allows ${percent} % of either. Look at the preview, and confirm if that is meant.`,
    metadata: {
      rule: strictest.name,
      brake_percent: String(percent),
      planned_files: String(planned.files),
      planned_bytes: String(planned.bytes),
    },
  };
}

function least(rules: readonly AppliedRule[], of: (rule: AppliedRule) => number): AppliedRule {
  return rules.reduce((strictest, rule) => (of(rule) < of(strictest) ? rule : strictest));
}

export function refusedError({ reason, message, metadata }: Refusal): DomainError {
  return new DomainError("FAILED_PRECONDITION", message, { reason, metadata });
}
