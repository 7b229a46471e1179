/** What a rule says: message in, message out. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  RuleOrder,
  type RuleSet as RuleSetMessage,
  type RuleSpec as RuleSpecMessage,
  type RuleSpecSchema,
  WarmingAction,
  type WarmingPolicy as WarmingMessage,
} from "../gen/frostline/v1/rule_pb.js";
import { invalidRule, type RuleSpec } from "../planner/rule.js";
import type { RuleSet } from "../planner/rule-set.js";
import type * as settings from "../planner/rule-settings.js";
import { defaultRuleSettings } from "../planner/rule-settings.js";

const orders: Record<settings.RuleOrder, RuleOrder> = {
  coldest: RuleOrder.COLDEST,
  largest: RuleOrder.LARGEST,
  oldest: RuleOrder.OLDEST,
};
const actions: Record<settings.WarmingAction, WarmingAction> = { alert: WarmingAction.ALERT, rehydrate: WarmingAction.REHYDRATE };

/** Undefined stays undefined. */
export function fromRuleSet(message: RuleSetMessage | undefined): RuleSet | undefined {
  return message && { rules: message.rules.map(fromSpec), retireOthers: message.retireOthers };
}

/** With the defaults for what is absent. Throws INVALID_ARGUMENT for what the domain has no word for. */
function fromSpec(spec: RuleSpecMessage): RuleSpec {
  const seconds = (field: string, value: bigint | undefined, fallback: number) =>
    value === undefined ? fallback : toNumber(spec.name, field, value);
  return {
    name: spec.name,
    description: spec.description,
    priority: spec.priority,
    enabled: spec.enabled ?? true,
    expression: spec.expression,
    targetUri: spec.targetUri,
    settings: {
      share_names: [...spec.shareNames].sort(),
      order: wordOf(spec.name, "order", orders, spec.order, defaultRuleSettings.order),
      max_files: spec.maxFiles === undefined ? null : toNumber(spec.name, "max_files", spec.maxFiles),
      max_bytes: spec.maxBytes === undefined ? null : toNumber(spec.name, "max_bytes", spec.maxBytes),
      max_scan_age_seconds: seconds("max_scan_age_seconds", spec.maxScanAgeSeconds, defaultRuleSettings.max_scan_age_seconds),
      brake_percent: spec.brakePercent ?? defaultRuleSettings.brake_percent,
      warming: fromWarming(spec.name, spec.warming),
      residency_seconds: seconds("residency_seconds", spec.residencySeconds, defaultRuleSettings.residency_seconds),
      backoff_factor: spec.backoffFactor ?? defaultRuleSettings.backoff_factor,
      max_residency_seconds: seconds("max_residency_seconds", spec.maxResidencySeconds, defaultRuleSettings.max_residency_seconds),
    },
  };
}

function fromWarming(rule: string, warming: WarmingMessage | undefined): settings.WarmingPolicy {
  const fallback = defaultRuleSettings.warming;
  if (warming === undefined) return { ...fallback };
  return {
    action: wordOf(rule, "warming.action", actions, warming.action, fallback.action),
    accesses: warming.accesses ?? fallback.accesses,
    window_seconds:
      warming.windowSeconds === undefined ? fallback.window_seconds : toNumber(rule, "warming.window_seconds", warming.windowSeconds),
  };
}

function toNumber(rule: string, field: string, value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw invalidRule(rule, field, `is ${value}; the most is 2^53-1.`);
  return number;
}

/** 0 is UNSPECIFIED. */
function wordOf<Word extends string>(rule: string, field: string, words: Record<Word, number>, value: number, fallback: Word): Word {
  if (value === 0) return fallback;
  const found = (Object.keys(words) as Word[]).find((word) => words[word] === value);
  if (found === undefined) throw invalidRule(rule, field, `has the number ${value}, which means nothing.`);
  return found;
}

export function toSpec({
  name,
  description,
  priority,
  enabled,
  expression,
  targetUri,
  settings,
}: RuleSpec): MessageInitShape<typeof RuleSpecSchema> {
  const { max_files, max_bytes, warming } = settings;
  return {
    name,
    description,
    priority,
    enabled,
    shareNames: settings.share_names,
    expression,
    targetUri,
    order: orders[settings.order],
    ...(max_files === null ? {} : { maxFiles: BigInt(max_files) }),
    ...(max_bytes === null ? {} : { maxBytes: BigInt(max_bytes) }),
    maxScanAgeSeconds: BigInt(settings.max_scan_age_seconds),
    brakePercent: settings.brake_percent,
    warming: { action: actions[warming.action], accesses: warming.accesses, windowSeconds: BigInt(warming.window_seconds) },
    residencySeconds: BigInt(settings.residency_seconds),
    backoffFactor: settings.backoff_factor,
    maxResidencySeconds: BigInt(settings.max_residency_seconds),
  };
}
