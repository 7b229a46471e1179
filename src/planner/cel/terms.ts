/** A rule taken apart: which of its terms hold for one file, so that one can say why the rule does or does not take it. */
import { type Outcome, programOf } from "./evaluate.js";
import { type FileValues, type FileVariable, fileVariableTypes } from "./language.js";
import { formatTimestamp } from "./literals.js";
import type { Condition } from "./nodes.js";
import type { CelExpr } from "./parse.js";
import { positionAt } from "./tokens.js";

export interface Term {
  /** `all` of its terms, `any` of them, `not` its only one, `if` the first then the second or else the third; a `test` has none. */
  kind: "all" | "any" | "not" | "if" | "test";
  /** As it stands in the source. */
  text: string;
  /** From 1; columns in characters. */
  line: number;
  column: number;
  terms: Term[];
}

export interface ExplainedTerm extends Omit<Term, "terms"> {
  /** With an `error` the term neither holds nor fails, and the rule does not take the file because of it. */
  outcome: Outcome;
  /** What a test saw: each variable of it with the file's value, times in RFC 3339 (UTC). */
  seen: { variable: FileVariable | "now"; value: string }[];
  terms: ExplainedTerm[];
}

export function termOf(source: string, condition: Condition): Term {
  const { kind, parts } = shapeOf(condition);
  return { kind, ...placeOf(source, condition), terms: parts.map((part) => termOf(source, part)) };
}

export function explainTerm(source: string, condition: Condition, file: FileValues, nowUnix: bigint): ExplainedTerm {
  const { kind, parts } = shapeOf(condition);
  return {
    kind,
    ...placeOf(source, condition),
    outcome: programOf(condition.expr)(file, nowUnix),
    seen: kind === "test" ? seenBy(condition.expr, file, nowUnix) : [],
    terms: parts.map((part) => explainTerm(source, part, file, nowUnix)),
  };
}

function placeOf(source: string, { span }: Condition) {
  return { text: source.slice(span.start, span.end), ...positionAt(source, span.start) };
}

function shapeOf(condition: Condition): { kind: Term["kind"]; parts: Condition[] } {
  switch (condition.kind) {
    case "and":
    case "or":
      return { kind: condition.kind === "and" ? "all" : "any", parts: flat(condition.kind, condition) };
    case "not":
      return { kind: "not", parts: [condition.operand] };
    case "if":
      return { kind: "if", parts: [condition.condition, condition.whenTrue, condition.whenFalse] };
    default:
      return { kind: "test", parts: [] };
  }
}

/** The parser makes a balanced tree of `a && b && c`. */
function flat(kind: "and" | "or", condition: Condition): Condition[] {
  return condition.kind === kind ? condition.operands.flatMap((operand) => flat(kind, operand)) : [condition];
}

function seenBy(expr: CelExpr, file: FileValues, nowUnix: bigint): ExplainedTerm["seen"] {
  return [...variablesOf(expr)].map((variable) => {
    if (variable === "now") return { variable, value: formatTimestamp(nowUnix) };
    const value = file[variable];
    return { variable, value: fileVariableTypes[variable] === "time" ? formatTimestamp(value as bigint) : String(value) };
  });
}

function variablesOf(expr: CelExpr): Set<FileVariable | "now"> {
  const kind = expr.exprKind;
  if (kind.case === "identExpr") {
    const { name } = kind.value;
    return new Set(name === "now" || Object.hasOwn(fileVariableTypes, name) ? [name as FileVariable | "now"] : []);
  }
  if (kind.case !== "callExpr") return new Set();
  const { target, args } = kind.value;
  return new Set([...(target ? [target] : []), ...args].flatMap((part) => [...variablesOf(part)]));
}
