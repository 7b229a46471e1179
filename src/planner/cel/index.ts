/**
 * Rule expressions: CEL in a closed profile, compiled to one SQL predicate. docs/rules.md, "Expressions", is for those who write them.
 * The path of a source: tokens.ts, parse.ts (the library), check.ts (types), then predicate.ts (SQL) or evaluate.ts (the library).
 */
import { checkSource } from "./check.js";
import { type Program, programOf } from "./evaluate.js";
import type { FileValues } from "./language.js";
import type { Condition } from "./nodes.js";
import { type Columns, conditionSql, type Params } from "./predicate.js";
import { type ExplainedTerm, explainTerm, type Term, termOf } from "./terms.js";

export { ExpressionError, type FileValues, type FileVariable } from "./language.js";
export type { Columns, ExplainedTerm, Params, Term };

/** A checked expression. */
export interface Expression {
  readonly source: string;
  readonly condition: Condition;
  readonly program: Program;
}

/** Throws ExpressionError with line, column and reason; nothing of a refused expression reaches the database. */
export function checkExpression(source: string): Expression {
  const condition = checkSource(source);
  return { source, condition, program: programOf(condition.expr) };
}

/**
 * One boolean SQL expression over `columns`, never null and never raising: an interim result out of range is no match.
 * Each column is an SQL expression that can stand beside any operator, text or bigint (times in unix seconds), and never null:
 * what is absent is '' or 0. Times are in the years 0001 to 9999. Values of the expression are added to `params`; the SQL has none.
 */
export function toPredicate(expression: Expression, columns: Columns, params: Params, nowUnix: bigint): string {
  return conditionSql({ columns, params, now: nowUnix }, expression.condition);
}

/** What the CEL library says of one file; an evaluation error is no match. */
export function evaluate(expression: Expression, file: FileValues, nowUnix: bigint): boolean {
  const outcome = expression.program(file, nowUnix);
  return "holds" in outcome && outcome.holds;
}

/** The expression as a tree of terms, each with its text and position. */
export function termsOf(expression: Expression): Term {
  return termOf(expression.source, expression.condition);
}

/** The same tree, with what each term comes to for one file and what it saw. */
export function explainTerms(expression: Expression, file: FileValues, nowUnix: bigint): ExplainedTerm {
  return explainTerm(expression.source, expression.condition, file, nowUnix);
}
