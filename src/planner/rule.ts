/** A rule, and what makes one that can be applied. */
import { DomainError } from "../errors.js";
import { checkExpression, ExpressionError } from "./cel/index.js";
import { type RuleSettings, ruleOrders, warmingActions } from "./rule-settings.js";

/** What a rule says. */
export interface RuleSpec {
  name: string;
  description: string;
  /** Ascending; those of one priority by name. */
  priority: number;
  enabled: boolean;
  expression: string;
  targetUri: string;
  settings: RuleSettings;
}

/** A version of a rule as it is stored. */
export interface RuleVersion extends RuleSpec {
  ruleId: bigint;
  version: number;
  createdUtc: Date;
  createdBy: string;
  retiredUtc: Date | null;
  retiredBy: string | null;
}

/** A file's matches are bits of a number that leaves room for what they are counted by (count.ts). */
export const rulesInForceAtMost = 50;
const nameCharsAtMost = 200;
const descriptionCharsAtMost = 2000;
const uriCharsAtMost = 2000;
const control = /[\p{Cc}\u2028\u2029]/u;

/** In the order of application: first match wins. */
export function byPriority(a: RuleSpec, b: RuleSpec): number {
  return a.priority - b.priority || Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));
}

/** Throws INVALID_ARGUMENT (INVALID_RULE) at the first fault. Whether its shares exist is not looked at. */
export function assertRule(rule: RuleSpec): void {
  const nameChars = [...rule.name].length;
  if (nameChars === 0 || nameChars > nameCharsAtMost || control.test(rule.name))
    throw invalidRule(rule.name, "name", `must have 1 to ${nameCharsAtMost} characters, none of them a control character.`);
  if (rule.description.length > descriptionCharsAtMost || rule.description.includes("\0"))
    throw invalidRule(rule.name, "description", `must have at most ${descriptionCharsAtMost} characters, and no NUL.`);
  if (!/^[a-z][a-z0-9+.-]*:\S+$/i.test(rule.targetUri) || rule.targetUri.length > uriCharsAtMost || control.test(rule.targetUri))
    throw invalidRule(rule.name, "target_uri", `must be a URI of at most ${uriCharsAtMost} characters, such as s3://bucket/prefix.`);
  try {
    checkExpression(rule.expression);
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    const { line, column, reason } = error;
    throw invalidRule(rule.name, "expression", `line ${line}, column ${column}: ${reason}`, { line: String(line), column: String(column) });
  }
  assertSettings(rule.name, rule.settings);
}

function assertSettings(name: string, settings: RuleSettings): void {
  const { warming } = settings;
  if (new Set(settings.share_names).size < settings.share_names.length) throw invalidRule(name, "share_names", "names a share twice.");
  if (!ruleOrders.includes(settings.order)) throw invalidRule(name, "order", `must be one of ${ruleOrders.join(", ")}.`);
  if (!warmingActions.includes(warming.action)) throw invalidRule(name, "warming.action", `must be one of ${warmingActions.join(", ")}.`);
  const whole = (field: string, value: number, least: number, most = Number.MAX_SAFE_INTEGER) => {
    if (!Number.isSafeInteger(value) || value < least || value > most)
      throw invalidRule(name, field, `is ${value}; it must be a whole number from ${least} to ${most}.`);
  };
  if (settings.max_files !== null) whole("max_files", settings.max_files, 1);
  if (settings.max_bytes !== null) whole("max_bytes", settings.max_bytes, 1);
  whole("max_scan_age_seconds", settings.max_scan_age_seconds, 1, secondsAtMost);
  whole("brake_percent", settings.brake_percent, 1, 100);
  whole("warming.accesses", warming.accesses, 1, 1_000_000);
  whole("warming.window_seconds", warming.window_seconds, 1, secondsAtMost);
  whole("residency_seconds", settings.residency_seconds, 0, secondsAtMost);
  if (!(settings.backoff_factor >= 1 && settings.backoff_factor <= 100))
    throw invalidRule(name, "backoff_factor", `is ${settings.backoff_factor}; it must be from 1 to 100.`);
  whole("max_residency_seconds", settings.max_residency_seconds, settings.residency_seconds, secondsAtMost);
}

/** A hundred years. */
const secondsAtMost = 3_155_760_000;

/** `problem` goes on from the field's name. */
export function invalidRule(rule: string, field: string, problem: string, position: Record<string, string> = {}): DomainError {
  return new DomainError("INVALID_ARGUMENT", `Rule ${JSON.stringify(rule)}, ${field}: ${problem}`, {
    reason: "INVALID_RULE",
    metadata: { rule, field, ...position },
  });
}
