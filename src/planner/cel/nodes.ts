/** A checked expression: conditions that both engines understand alike. check.ts makes it of the parser's tree, predicate.ts SQL of it. */
import type { StringVariable } from "./language.js";
import type { Linear, RangeCheck } from "./linear.js";
import type { CelExpr } from "./parse.js";
import type { Span } from "./spans.js";

export type ComparisonOperator = "<" | "<=" | ">" | ">=" | "==" | "!=";

export type StringOperand = { variable: StringVariable } | { literal: string };

type ConditionKind =
  | { kind: "constant"; value: boolean }
  | { kind: "and" | "or"; operands: Condition[] }
  | { kind: "not"; operand: Condition }
  | { kind: "if"; condition: Condition; whenTrue: Condition; whenFalse: Condition }
  | { kind: "same"; left: Condition; right: Condition; negated: boolean }
  /** `difference` (left minus right) compared with 0. */
  | { kind: "compare"; operator: ComparisonOperator; difference: Linear; checks: RangeCheck[] }
  | { kind: "numberIn"; value: Linear; checks: RangeCheck[]; list: bigint[] }
  | { kind: "stringIn"; operand: StringOperand; list: string[] }
  | { kind: "equals"; left: StringOperand; right: StringOperand; negated: boolean }
  | { kind: "startsWith" | "endsWith" | "contains"; operand: StringOperand; part: StringOperand }
  | { kind: "glob"; operand: StringOperand; pattern: string };

export type Condition = ConditionKind & {
  /** For the library's evaluator. */
  expr: CelExpr;
  span: Span;
};
