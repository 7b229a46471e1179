/** What applying rules would change: pure, so that a preview of a candidate and ApplyRules cannot differ. */
import { createHash } from "node:crypto";
import { assertRule, byPriority, invalidRule, type RuleSpec, type RuleVersion, rulesInForceAtMost } from "./rule.js";

export interface RuleSet {
  rules: RuleSpec[];
  /** Rules in force that are not among `rules` are retired. */
  retireOthers: boolean;
}

export type RuleChange =
  | { kind: "added"; after: RuleSpec }
  | { kind: "changed"; before: RuleVersion; after: RuleSpec; fields: string[] }
  | { kind: "retired"; before: RuleVersion }
  | { kind: "unchanged"; before: RuleVersion };

/** A rule as the planner applies it; without id and version it is not in force. */
export type AppliedRule = RuleSpec & Partial<Pick<RuleVersion, "ruleId" | "version">>;

/**
 * The changes from `inForce`, in the order of the rules' names. Throws INVALID_ARGUMENT (INVALID_RULE) for a rule that cannot
 * be applied, names a share that is not among `shareNames`, or comes twice, and for more rules than can be in force.
 */
export function changesOf(inForce: RuleVersion[], { rules, retireOthers }: RuleSet, shareNames: ReadonlySet<string>): RuleChange[] {
  const before = new Map(inForce.map((rule) => [rule.name, rule]));
  const seen = new Set<string>();
  const changes: RuleChange[] = [];
  for (const rule of rules) {
    assertRule(rule);
    const unknown = rule.settings.share_names.find((name) => !shareNames.has(name));
    if (unknown !== undefined)
      throw invalidRule(rule.name, "share_names", `there is no share named ${JSON.stringify(unknown)}. ListShares shows those there are.`);
    if (seen.has(rule.name)) throw invalidRule(rule.name, "name", "comes twice.");
    seen.add(rule.name);
    changes.push(changeOf(before.get(rule.name), rule));
  }
  for (const rule of inForce) if (!seen.has(rule.name)) changes.push({ kind: retireOthers ? "retired" : "unchanged", before: rule });
  const left = changes.filter(({ kind }) => kind !== "retired").length;
  if (left > rulesInForceAtMost)
    throw invalidRule(rules.at(-1)?.name ?? "", "name", `${left} rules would be in force; at most ${rulesInForceAtMost} may be.`);
  return changes.sort((a, b) => Buffer.compare(Buffer.from(nameOf(a)), Buffer.from(nameOf(b))));
}

function changeOf(before: RuleVersion | undefined, after: RuleSpec): RuleChange {
  if (before === undefined) return { kind: "added", after };
  const [old, now] = [flat(before), flat(after)];
  const fields = Object.keys(now).filter((field) => old[field] !== now[field]);
  return fields.length === 0 ? { kind: "unchanged", before } : { kind: "changed", before, after, fields };
}

/** Each field's value as text, under the name that the contract gives it. */
function flat({ name: _, targetUri, settings, ...rest }: RuleSpec): Record<string, string> {
  const { description, priority, enabled, expression } = rest;
  const { warming, ...others } = settings;
  const fields = {
    description,
    priority,
    enabled,
    expression,
    target_uri: targetUri,
    ...others,
    "warming.action": warming.action,
    "warming.accesses": warming.accesses,
    "warming.window_seconds": warming.window_seconds,
  };
  return Object.fromEntries(Object.entries(fields).map(([field, value]) => [field, JSON.stringify(value)]));
}

export function nameOf(change: RuleChange): string {
  return "after" in change ? change.after.name : change.before.name;
}

/** The rules that would be in force after the changes, in the order of application. */
export function rulesAfter(changes: RuleChange[]): AppliedRule[] {
  return changes
    .flatMap((change): AppliedRule[] => {
      if (change.kind === "retired") return [];
      return [change.kind === "unchanged" ? change.before : change.after];
    })
    .sort(byPriority);
}

/** Stands for a set of rules in force: another version is another id. */
export function etagOf(inForce: RuleVersion[]): string {
  const ids = inForce.map(({ ruleId }) => ruleId).sort((a, b) => (a < b ? -1 : 1));
  return createHash("sha256").update(ids.join()).digest("hex").slice(0, 16);
}
