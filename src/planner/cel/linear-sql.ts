/** Comparisons of sums to SQL: a column against a constant wherever there is one variable, as nearly every rule has it. */
import { int64, type NumericVariable, type Range, timeRange } from "./language.js";
import { ceilDivide, floorDivide, type Linear, type LinearVariable, type RangeCheck, rangeOf } from "./linear.js";
import type { ComparisonOperator } from "./nodes.js";
import type { Compiler } from "./predicate.js";

const mirrored: Readonly<Record<ComparisonOperator, ComparisonOperator>> = {
  "<": ">",
  "<=": ">=",
  ">": "<",
  ">=": "<=",
  "==": "==",
  "!=": "!=",
};
const inSql: Readonly<Record<ComparisonOperator, string>> = { "<": "<", "<=": "<=", ">": ">", ">=": ">=", "==": "=", "!=": "<>" };

/** Scans and audit events store no time outside the years 0001 to 9999; a size may be anything. */
function rangeOfVariable(name: LinearVariable): Range {
  return name === "size" ? int64 : timeRange;
}

/** `difference` compared with 0, as a condition that is never null if the columns are not. */
export function compareSql(compiler: Compiler, difference: Linear, operator: ComparisonOperator): string {
  const terms = termsOf(difference);
  const [only] = terms;
  if (only === undefined) return literal(compareConstants(difference.constant, operator));
  if (terms.length > 1) return `((${sumSql(compiler, difference)}) ${inSql[operator]} ${constant(compiler, -difference.constant)})`;
  return compareOne(compiler, only, difference.constant, operator);
}

/** coefficient * column + offset compared with 0: the bound is calculated here, exactly. */
function compareOne(compiler: Compiler, [name, coefficient]: Term, offset: bigint, operator: ComparisonOperator): string {
  if (coefficient < 0n) return compareOne(compiler, [name, -coefficient], -offset, mirrored[operator]);
  if ((operator === "==" || operator === "!=") && offset % coefficient !== 0n) return literal(operator === "!=");
  // k*v < -c is v < ceil(-c/k), and k*v <= -c is v <= floor(-c/k).
  const bound = operator === "<" || operator === ">=" ? ceilDivide(-offset, coefficient) : floorDivide(-offset, coefficient);
  if (bound < int64.low) return literal(operator === ">" || operator === ">=" || operator === "!=");
  if (bound > int64.high) return literal(operator === "<" || operator === "<=" || operator === "!=");
  return `(${compiler.columns[name]} ${inSql[operator]} ${constant(compiler, bound)})`;
}

/** Whether the sum is one of `list`. It has at most one variable, size: nothing else is a number. */
export function memberSql(compiler: Compiler, value: Linear, list: bigint[]): string {
  const [only] = termsOf(value);
  if (only === undefined) return literal(list.includes(value.constant));
  const [name, coefficient] = only;
  const wanted = list.map((element) => element - value.constant).filter((product) => product % coefficient === 0n);
  const inRange = wanted.map((product) => product / coefficient).filter((element) => element >= int64.low && element <= int64.high);
  if (inRange.length === 0) return "FALSE";
  return `(${compiler.columns[name]} = ANY (${compiler.params.add(inRange.map(String))}::bigint[]))`;
}

/**
 * `comparison`, but NULL where an interim result is out of range. Conditions that always hold are left out, and the comparison
 * is not written if it cannot matter: a parameter that the statement does not mention is an error.
 */
export function guarded(
  compiler: Compiler,
  checks: RangeCheck[],
  compared: Linear,
  comparison: () => string,
): { text: string; nullable: boolean } {
  const needed = checks.filter(({ value, range }) => {
    const possible = rangeOf(value, rangeOfVariable);
    return possible.low < range.low || possible.high > range.high;
  });
  const bounds = new Map<NumericVariable, Range>();
  // A sum of several columns is calculated by PostgreSQL: each has to be what it should be, or the sum might overflow.
  const summed = [compared, ...needed.map((check) => check.value)].map(termsOf).filter((terms) => terms.length > 1);
  for (const [name] of summed.flat()) bounds.set(name, timeRange);
  for (const { value, range } of needed) {
    const [only, ...more] = termsOf(value);
    if (only === undefined) return { text: "NULL::boolean", nullable: true };
    if (more.length === 0) narrow(bounds, only, value.constant, range);
  }
  if ([...bounds.values()].some((range) => range.low > range.high)) return { text: "NULL::boolean", nullable: true };
  const ranges = [...bounds].filter(([, range]) => range.low > int64.low || range.high < int64.high);
  const sums = needed.filter(({ value }) => termsOf(value).length > 1);
  // Nested, because only CASE says what is calculated first.
  const columnsInRange = ranges.map(([name, range]) => betweenSql(compiler, compiler.columns[name], range));
  const sumsInRange = sums.map(({ value, range }) => betweenSql(compiler, `(${sumSql(compiler, value)})`, shifted(range, -value.constant)));
  return { text: onlyIf(columnsInRange, onlyIf(sumsInRange, comparison())), nullable: ranges.length + sums.length > 0 };
}

function onlyIf(conditions: string[], text: string): string {
  return conditions.length === 0 ? text : `(CASE WHEN ${conditions.join(" AND ")} THEN ${text} END)`;
}

function betweenSql(compiler: Compiler, text: string, range: Range): string {
  return `${text} BETWEEN ${constant(compiler, range.low)} AND ${constant(compiler, range.high)}`;
}

function shifted(range: Range, by: bigint): Range {
  return { low: range.low + by, high: range.high + by };
}

/** Leaves in bounds what also keeps coefficient * column + offset in `range`. */
function narrow(bounds: Map<NumericVariable, Range>, [name, coefficient]: Term, offset: bigint, range: Range): void {
  const before = bounds.get(name) ?? int64;
  const [from, to] = coefficient > 0n ? [range.low, range.high] : [range.high, range.low];
  const low = ceilDivide(from - offset, coefficient);
  const high = floorDivide(to - offset, coefficient);
  bounds.set(name, intersection(before, { low, high }));
}

function intersection(a: Range, b: Range): Range {
  const inside = { ...a };
  if (b.low > inside.low) inside.low = b.low;
  if (b.high < inside.high) inside.high = b.high;
  return inside;
}

type Term = [name: NumericVariable, coefficient: bigint];

function termsOf(value: Linear): Term[] {
  return [...value.coefficients].filter((term): term is Term => term[0] !== "now");
}

/** Without the constant. */
function sumSql(compiler: Compiler, value: Linear): string {
  return termsOf(value)
    .map(([name, coefficient], index) => {
      const sign = coefficient < 0n ? "-" : index === 0 ? "" : "+";
      const size = coefficient < 0n ? -coefficient : coefficient;
      return ` ${sign} ${size === 1n ? "" : `${size}::bigint * `}${compiler.columns[name]}`;
    })
    .join("")
    .trim();
}

function constant(compiler: Compiler, value: bigint): string {
  return `${compiler.params.add(value.toString())}::bigint`;
}

function compareConstants(value: bigint, operator: ComparisonOperator): boolean {
  switch (operator) {
    case "<":
      return value < 0n;
    case "<=":
      return value <= 0n;
    case ">":
      return value > 0n;
    case ">=":
      return value >= 0n;
    case "==":
      return value === 0n;
    case "!=":
      return value !== 0n;
  }
}

function literal(value: boolean): string {
  return value ? "TRUE" : "FALSE";
}
