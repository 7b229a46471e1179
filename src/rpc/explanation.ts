/** What Explain found, as a message. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type ExplainResponseSchema, type ExpressionTermSchema, RuleVerdict, TermKind } from "../gen/frostline/v1/planner_pb.js";
import { renderPath } from "../paths.js";
import type { ExplainedTerm } from "../planner/cel/index.js";
import { hasCaps } from "../planner/classify.js";
import type { Explanation, Verdict } from "../planner/explain.js";
import { exclusionReason, toRefusal } from "./funnel.js";

const verdicts: Record<Verdict, RuleVerdict> = {
  not_applied: RuleVerdict.NOT_APPLIED,
  not_matched: RuleVerdict.NOT_MATCHED,
  excluded: RuleVerdict.EXCLUDED,
  taken: RuleVerdict.TAKEN,
  planned: RuleVerdict.PLANNED,
};
const kinds: Record<ExplainedTerm["kind"], TermKind> = {
  all: TermKind.ALL,
  any: TermKind.ANY,
  not: TermKind.NOT,
  if: TermKind.IF,
  test: TermKind.TEST,
};

export function toExplanation(explanation: Explanation, nowUnix: bigint): MessageInitShape<typeof ExplainResponseSchema> {
  const { file, share, conditions, rules, refusals } = explanation;
  return {
    fileId: file.file_current_id,
    path: renderPath(share.src_type, file.dir_path, file.name),
    plannedRuleName: rules.find(({ verdict }) => verdict === "planned")?.rule.name ?? "",
    summary: summaryOf(explanation),
    conditions: conditions.map(({ reason, passed, detail }) => ({ reason: exclusionReason[reason], passed, detail })),
    rules: rules.map(({ rule, verdict, terms }) => ({
      ruleName: rule.name,
      ruleId: rule.ruleId ?? 0n,
      version: rule.version ?? 0,
      verdict: verdicts[verdict],
      terms: flat(terms, 0),
      hasCaps: hasCaps(rule),
    })),
    tierState: file.state ?? "",
    refusals: refusals.map(toRefusal),
    nowUnix,
  };
}

function summaryOf({ conditions, rules }: Explanation): string {
  const planned = rules.find(({ verdict }) => verdict === "planned");
  if (planned) {
    const caps = hasCaps(planned.rule) ? ", if its caps leave room" : "";
    return `A plan takes it for rule ${JSON.stringify(planned.rule.name)}${caps}.`;
  }
  const matching = rules.find(({ verdict }) => verdict === "excluded");
  if (matching === undefined) return "No rule that applies to the share matches it.";
  const obstacles = conditions.filter(({ passed }) => !passed).map(({ detail }) => detail);
  return `Rule ${JSON.stringify(matching.rule.name)} matches it, but: ${obstacles.join(" ")}`;
}

function flat(term: ExplainedTerm, depth: number): MessageInitShape<typeof ExpressionTermSchema>[] {
  const { kind, text, line, column, outcome, seen, terms } = term;
  const holds = "holds" in outcome && outcome.holds;
  const error = "error" in outcome ? outcome.error : "";
  return [{ kind: kinds[kind], text, line, column, depth, holds, error, seen }, ...terms.flatMap((part) => flat(part, depth + 1))];
}
