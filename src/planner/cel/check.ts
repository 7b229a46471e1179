/** The type checker: the parser's tree in, conditions of the closed profile out. The library exports none. */
import { type Context, naming, type Typed } from "./check-context.js";
import { checkFunction, checkMethod } from "./check-functions.js";
import { checkOperator } from "./check-operators.js";
import { depthAtMost, type FileVariable, fileVariableTypes, int64, type NumericVariable, type StringVariable, units } from "./language.js";
import { constantOf, variableOf } from "./linear.js";
import type { Condition } from "./nodes.js";
import { type CelExpr, type Parsed, parseSource, refuseDropped } from "./parse.js";
import { spanOf } from "./spans.js";
import { errorAt, readSource, type Source } from "./tokens.js";

/** Throws ExpressionError for whatever the two engines might not understand alike. */
export function checkSource(text: string): Condition {
  const source = readSource(text);
  const parsed = parseSource(source);
  const context = createContext(source, parsed);
  const checked = context.check(parsed.expr);
  if (checked.type !== "bool")
    throw context.fault(parsed.expr, `a rule is a condition, this is ${naming[checked.type]}: compare it with something`);
  refuseDropped(source, parsed);
  return checked.condition;
}

function createContext(source: Source, parsed: Parsed): Context {
  let depth = 0;
  const context: Context = {
    spanOf: (expr) => spanOf(source, parsed, expr),
    fault: (expr, reason) => errorAt(source.text, spanOf(source, parsed, expr).start, reason),
    check: (expr) => {
      depth += 1;
      if (depth > depthAtMost) throw context.fault(expr, `operators are nested more than ${depthAtMost} deep: split the rule`);
      const typed = checkNode(context, expr);
      depth -= 1;
      return typed;
    },
  };
  return context;
}

function checkNode(context: Context, expr: CelExpr): Typed {
  const kind = expr.exprKind;
  switch (kind.case) {
    case "constExpr":
      return checkLiteral(context, expr);
    case "identExpr":
      return checkVariable(context, expr, kind.value.name);
    case "callExpr": {
      const { function: name, target, args } = kind.value;
      if (target) return checkMethod(context, expr, name, target, args);
      return /^[_@!-]/.test(name) && !/^_?\w+$/.test(name)
        ? checkOperator(context, expr, name, args)
        : checkFunction(context, expr, name, args);
    }
    case "listExpr":
      throw context.fault(expr, "a list stands only on the right of in");
    case "selectExpr":
      throw context.fault(expr, "values have no fields here: write a variable, such as name or size");
    case "comprehensionExpr":
      throw context.fault(expr, "all, exists, filter and map are not supported: write conditions with in, && and ||");
    default:
      throw context.fault(expr, "maps and messages are not supported");
  }
}

function checkLiteral(context: Context, expr: CelExpr): Typed {
  const constant = expr.exprKind.case === "constExpr" ? expr.exprKind.value.constantKind : undefined;
  switch (constant?.case) {
    case "boolValue":
      return { type: "bool", condition: { kind: "constant", value: constant.value, expr, span: context.spanOf(expr) } };
    case "int64Value":
      // The parser takes any number of digits.
      if (constant.value < int64.low || constant.value > int64.high)
        throw context.fault(expr, `${constant.value} is outside the 64-bit range, -2^63 to 2^63-1`);
      return { type: "int", value: constantOf(constant.value), checks: [] };
    case "stringValue":
      if (constant.value.includes("\0")) throw context.fault(expr, "this text contains a NUL, which no stored text does: take it out");
      return { type: "string", operand: { literal: constant.value } };
    case "uint64Value":
      throw context.fault(expr, `unsigned numbers are not supported: write ${constant.value} without the u`);
    case "doubleValue":
      throw context.fault(expr, "numbers are whole: write 1536 * MB in place of 1.5 * GB");
    case "bytesValue":
      throw context.fault(expr, "bytes are not supported: write the text without the b");
    default:
      throw context.fault(expr, 'there is no null: what is absent is the empty text "", or 0');
  }
}

function checkVariable(context: Context, expr: CelExpr, name: string): Typed {
  if (name === "now") return { type: "time", value: variableOf("now"), checks: [] };
  if (Object.hasOwn(units, name)) return { type: "int", value: constantOf(units[name] as bigint), checks: [] };
  if (!Object.hasOwn(fileVariableTypes, name))
    throw context.fault(
      expr,
      `there is no variable ${name}; there are ${Object.keys(fileVariableTypes).join(", ")}, now, and the units ${Object.keys(units).join(", ")}. Text stands in quotes`,
    );
  const type = fileVariableTypes[name as FileVariable];
  if (type === "string") return { type, operand: { variable: name as StringVariable } };
  return { type, value: variableOf(name as NumericVariable), checks: [] };
}
