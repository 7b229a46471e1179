/** What the parts of the type checker share. */
import type { ExpressionError, ValueType } from "./language.js";
import type { Linear, RangeCheck } from "./linear.js";
import type { Condition, StringOperand } from "./nodes.js";
import type { CelExpr } from "./parse.js";
import type { Span } from "./spans.js";

export type Typed =
  | { type: "bool"; condition: Condition }
  | { type: "string"; operand: StringOperand }
  | { type: "int" | "time" | "duration"; value: Linear; checks: RangeCheck[] };

export interface Context {
  /** The type of a node, and what it means. Throws ExpressionError. */
  check(expr: CelExpr): Typed;
  spanOf(expr: CelExpr): Span;
  /** The error to throw; its position is where the node starts. */
  fault(expr: CelExpr, reason: string): ExpressionError;
}

export const naming: Readonly<Record<ValueType, string>> = {
  bool: "a condition",
  string: "a text",
  int: "a number",
  time: "a time",
  duration: "a duration",
};

/** For messages: what to write to make something comparable. */
export const remedy: Readonly<Record<ValueType, string>> = {
  bool: "",
  string: "; text stands in quotes",
  int: "; sizes are numbers such as 10 * GB",
  time: '; a time is now, a variable, or timestamp("2026-01-31T00:00:00Z")',
  duration: '; a duration is duration("90d"), or the difference of two times',
};

export function checkCondition(context: Context, expr: CelExpr, where: string): Condition {
  const typed = context.check(expr);
  if (typed.type !== "bool")
    throw context.fault(expr, `${where} needs a condition, this is ${naming[typed.type]}: compare it with something`);
  return typed.condition;
}

export function checkString(context: Context, expr: CelExpr, where: string): StringOperand {
  const typed = context.check(expr);
  if (typed.type !== "string") throw context.fault(expr, `${where} needs a text, this is ${naming[typed.type]}${remedy.string}`);
  return typed.operand;
}

/** A text that is written out: it is read once, before any file is. */
export function checkLiteralString(context: Context, expr: CelExpr, where: string): string {
  const operand = checkString(context, expr, where);
  if (!("literal" in operand)) throw context.fault(expr, `${where} needs a text in quotes, not a variable`);
  return operand.literal;
}
