/** Operators: logic, comparison, membership, arithmetic. */
import { type Context, checkCondition, checkLiteralString, naming, remedy, type Typed } from "./check-context.js";
import { durationRange, int64, type Range, tierStates, timeRange, type ValueType } from "./language.js";
import { addScaled, isConstant, type Linear, type RangeCheck, scale } from "./linear.js";
import type { ComparisonOperator, Condition, StringOperand } from "./nodes.js";
import type { CelExpr } from "./parse.js";

type Sum = Extract<Typed, { value: Linear }>;

const ranges: Readonly<Record<Sum["type"], Range>> = { int: int64, time: timeRange, duration: durationRange };

/** `name` as the parser calls the operator, e.g. `_&&_`, `@in`. */
export function checkOperator(context: Context, expr: CelExpr, name: string, args: CelExpr[]): Typed {
  const span = context.spanOf(expr);
  const [first, second, third] = args as [CelExpr, CelExpr, CelExpr];
  switch (name) {
    case "_&&_":
    case "_||_": {
      const operands = args.map((arg) => checkCondition(context, arg, name.slice(1, 3)));
      return { type: "bool", condition: { kind: name === "_&&_" ? "and" : "or", operands, expr, span } };
    }
    case "!_":
      return { type: "bool", condition: { kind: "not", operand: checkCondition(context, first, "!"), expr, span } };
    case "_?_:_":
      return checkTernary(context, expr, first, second, third);
    case "@in":
      return { type: "bool", condition: checkIn(context, expr, first, second) };
    case "_+_":
    case "_-_":
      return checkSum(context, expr, name === "_+_" ? 1n : -1n, first, second);
    case "_*_":
      return checkProduct(context, expr, first, second);
    case "-_":
      return checkNegation(context, expr, first);
    case "_/_":
    case "_%_":
      throw context.fault(expr, `${name[1]} is not supported: multiply the other side in place of dividing this one`);
    case "_[_]":
      throw context.fault(expr, "lists are not indexed: write a variable, or use in");
    default:
      return { type: "bool", condition: checkComparison(context, expr, name.slice(1, -1) as ComparisonOperator, first, second) };
  }
}

/** Between conditions only: a number that is one of two would have to be calculated for each row. */
function checkTernary(context: Context, expr: CelExpr, first: CelExpr, second: CelExpr, third: CelExpr): Typed {
  const condition = checkCondition(context, first, "? :");
  const [whenTrue, whenFalse] = [second, third].map((branch) => {
    const typed = context.check(branch);
    if (typed.type !== "bool")
      throw context.fault(
        branch,
        `? : chooses between conditions, this is ${naming[typed.type]}: write c ? size > 1 * GB : size > 1 * MB in place of size > (c ? 1 * GB : 1 * MB)`,
      );
    return typed.condition;
  }) as [Condition, Condition];
  return { type: "bool", condition: { kind: "if", condition, whenTrue, whenFalse, expr, span: context.spanOf(expr) } };
}

function checkComparison(context: Context, expr: CelExpr, operator: ComparisonOperator, first: CelExpr, second: CelExpr): Condition {
  const left = context.check(first);
  const right = context.check(second);
  if (left.type !== right.type)
    throw context.fault(second, `${operator} compares ${naming[left.type]} with ${naming[right.type]}${remedy[left.type]}`);
  const span = context.spanOf(expr);
  if ("value" in left && "value" in right)
    return {
      kind: "compare",
      operator,
      difference: addScaled(left.value, right.value, -1n),
      checks: [...left.checks, ...right.checks],
      expr,
      span,
    };
  if (operator !== "==" && operator !== "!=")
    throw context.fault(
      expr,
      `${operator} compares numbers, times and durations, not ${naming[left.type]}: use ==, in${left.type === "string" ? " or startsWith" : ""}`,
    );
  const negated = operator === "!=";
  if (left.type === "bool" && right.type === "bool")
    return { kind: "same", left: left.condition, right: right.condition, negated, expr, span };
  if (left.type === "string" && right.type === "string") {
    refuseImpossible(context, second, left.operand, right.operand);
    refuseImpossible(context, first, right.operand, left.operand);
    return { kind: "equals", left: left.operand, right: right.operand, negated, expr, span };
  }
  throw context.fault(expr, `${operator} cannot compare these`);
}

/** Texts that a variable never is: a rule with one would match no file, and say nothing. */
function refuseImpossible(context: Context, expr: CelExpr, operand: StringOperand, other: StringOperand): void {
  if (!("variable" in operand) || !("literal" in other)) return;
  const { literal } = other;
  if (operand.variable === "extension" && (literal.startsWith(".") || literal !== literal.toLowerCase()))
    throw context.fault(
      expr,
      `extension is in lower case and without the dot: write ${JSON.stringify(literal.replace(/^\.+/, "").toLowerCase())}`,
    );
  if (operand.variable === "tier_state" && !tierStates.includes(literal))
    throw context.fault(expr, `tier_state is one of ${tierStates.map((state) => JSON.stringify(state)).join(", ")}`);
}

function checkIn(context: Context, expr: CelExpr, first: CelExpr, second: CelExpr): Condition {
  const value = context.check(first);
  if (value.type !== "string" && value.type !== "int")
    throw context.fault(first, `in looks for texts and numbers, not for ${naming[value.type]}: use ==`);
  if (second.exprKind.case !== "listExpr") throw context.fault(second, 'in needs a list, as in extension in ["mov", "mxf"]');
  const { elements } = second.exprKind.value;
  if (elements.length === 0) throw context.fault(second, "nothing is in an empty list: write what it should hold, or false");
  const span = context.spanOf(expr);
  if (value.type === "string") {
    const list = elements.map((element) => {
      const literal = checkLiteralString(context, element, "this list");
      refuseImpossible(context, element, value.operand, { literal });
      return literal;
    });
    return { kind: "stringIn", operand: value.operand, list, expr, span };
  }
  const list = elements.map((element) => {
    const typed = context.check(element);
    if (typed.type !== "int" || !isConstant(typed.value) || typed.checks.length > 0)
      throw context.fault(element, "this list needs numbers that are written out, not variables or other types");
    return typed.value.constant;
  });
  return { kind: "numberIn", value: value.value, checks: value.checks, list, expr, span };
}

function checkSum(context: Context, expr: CelExpr, sign: 1n | -1n, first: CelExpr, second: CelExpr): Typed {
  const left = context.check(first);
  const right = context.check(second);
  const type = sumType(left.type, right.type, sign);
  if (type === undefined || !("value" in left) || !("value" in right))
    throw context.fault(
      second,
      `${sign > 0n ? "+" : "-"} does not go with ${naming[left.type]} and ${naming[right.type]}${remedy[left.type === "time" ? "duration" : left.type]}`,
    );
  return checked(context, expr, type, addScaled(left.value, right.value, sign), [...left.checks, ...right.checks]);
}

function sumType(left: ValueType, right: ValueType, sign: 1n | -1n): Sum["type"] | undefined {
  if (left === "int" && right === "int") return "int";
  if (left === "duration" && right === "duration") return "duration";
  if (left === "time" && right === "duration") return "time";
  if (left === "duration" && right === "time" && sign > 0n) return "time";
  if (left === "time" && right === "time" && sign < 0n) return "duration";
  return undefined;
}

function checkProduct(context: Context, expr: CelExpr, first: CelExpr, second: CelExpr): Typed {
  const left = context.check(first);
  const right = context.check(second);
  for (const [side, typed] of [
    [first, left],
    [second, right],
  ] as const)
    if (typed.type !== "int") throw context.fault(side, `* multiplies numbers, this is ${naming[typed.type]}`);
  const { value: a, checks: checksA } = left as Sum;
  const { value: b, checks: checksB } = right as Sum;
  if (!isConstant(a) && !isConstant(b)) throw context.fault(expr, "one side of * has to be a number that is written out, not a variable");
  return checked(context, expr, "int", isConstant(a) ? scale(b, a.constant) : scale(a, b.constant), [...checksA, ...checksB]);
}

function checkNegation(context: Context, expr: CelExpr, operand: CelExpr): Typed {
  const typed = context.check(operand);
  if (typed.type !== "int")
    throw context.fault(expr, `- does not go before ${naming[typed.type]}${typed.type === "duration" ? ': write duration("-1d")' : ""}`);
  return checked(context, expr, "int", scale(typed.value, -1n), typed.checks);
}

/** Every interim result has to be in range, also where a later one is again. What has no variable is decided now. */
function checked(context: Context, expr: CelExpr, type: Sum["type"], value: Linear, checks: RangeCheck[]): Typed {
  const range = ranges[type];
  if (!isConstant(value)) return { type, value, checks: [...checks, { value, range }] };
  if (value.constant < range.low || value.constant > range.high)
    throw context.fault(
      expr,
      `this comes to ${value.constant}${type === "int" ? ", outside the 64-bit range" : " s, outside the range of its type"}`,
    );
  return { type, value, checks };
}
