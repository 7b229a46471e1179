/** Functions and methods: three tests of a text, glob(), and the two ways to write a time. */
import { type Context, checkLiteralString, checkString, type Typed } from "./check-context.js";
import { globFault } from "./glob.js";
import { constantOf } from "./linear.js";
import { formatTimestamp, parseDuration, parseTimestamp } from "./literals.js";
import type { CelExpr } from "./parse.js";

const methods = ["startsWith", "endsWith", "contains"] as const;
type Method = (typeof methods)[number];

/** What people try, and what to write. */
const remedies = new Map(
  Object.entries({
    matches: 'write glob(path, "/Active/**")',
    size: "sizes of texts are not supported; the variable size, without parentheses, is the file's",
    now: "now is a variable: write it without parentheses",
    days: 'write duration("90d")',
    has: 'nothing is ever missing: compare with "" or 0',
    int: "numbers, texts and times are not converted",
    string: "numbers, texts and times are not converted",
    lowerAscii: "case counts, but extension is always in lower case",
  }),
);

export function checkMethod(context: Context, expr: CelExpr, name: string, target: CelExpr, args: CelExpr[]): Typed {
  if (!isMethod(name)) throw context.fault(expr, unknown(name, name === "glob" ? 'write glob(path, "/Active/**")' : remedies.get(name)));
  const operand = checkString(context, target, `${name}()`);
  const [argument] = args;
  if (argument === undefined || args.length > 1) throw context.fault(expr, `${name}() takes one text, not ${args.length} values`);
  const part = checkString(context, argument, `${name}()`);
  return { type: "bool", condition: { kind: name, operand, part, expr, span: context.spanOf(expr) } };
}

export function checkFunction(context: Context, expr: CelExpr, name: string, args: CelExpr[]): Typed {
  switch (name) {
    case "glob":
      return checkGlob(context, expr, args);
    case "duration":
      return checkTimeLiteral(
        context,
        expr,
        args,
        "duration",
        'such as duration("90d") or duration("1h30m"), at most 106751 days',
        (text) => {
          const seconds = parseDuration(text);
          return seconds === undefined ? undefined : { seconds, text: `${seconds}s` };
        },
      );
    case "timestamp":
      return checkTimeLiteral(context, expr, args, "time", 'such as timestamp("2026-01-31T00:00:00Z")', (text) => {
        const seconds = parseTimestamp(text);
        return seconds === undefined ? undefined : { seconds, text: formatTimestamp(seconds) };
      });
    default:
      throw context.fault(expr, unknown(name, isMethod(name) ? `write path.${name}("...")` : remedies.get(name)));
  }
}

function checkGlob(context: Context, expr: CelExpr, args: CelExpr[]): Typed {
  const [text, pattern] = args;
  if (text === undefined || pattern === undefined || args.length > 2)
    throw context.fault(expr, `glob() takes a text and a pattern, not ${args.length} values: glob(path, "/Active/**")`);
  const operand = checkString(context, text, "glob()");
  const literal = checkLiteralString(context, pattern, "glob()'s pattern");
  const fault = globFault(literal);
  if (fault !== undefined) throw context.fault(pattern, fault);
  return { type: "bool", condition: { kind: "glob", operand, pattern: literal, expr, span: context.spanOf(expr) } };
}

function checkTimeLiteral(
  context: Context,
  expr: CelExpr,
  args: CelExpr[],
  type: "time" | "duration",
  example: string,
  read: (text: string) => { seconds: bigint; text: string } | undefined,
): Typed {
  const name = type === "time" ? "timestamp()" : "duration()";
  const [argument] = args;
  if (argument === undefined || args.length > 1) throw context.fault(expr, `${name} takes one text in quotes, ${example}`);
  const literal = read(checkLiteralString(context, argument, name));
  if (literal === undefined)
    throw context.fault(
      argument,
      `${name} needs ${type === "time" ? "an RFC 3339 time" : "days, hours, minutes and seconds"} in whole seconds, ${example}`,
    );
  rewriteLiteral(argument, literal.text);
  return { type, value: constantOf(literal.seconds), checks: [] };
}

/** The library knows no day, and reads times that no calendar has: it is given what was understood here. */
function rewriteLiteral(argument: CelExpr, text: string): void {
  if (argument.exprKind.case !== "constExpr") return;
  const { constantKind } = argument.exprKind.value;
  if (constantKind.case === "stringValue") constantKind.value = text;
}

function isMethod(name: string): name is Method {
  return methods.some((method) => method === name);
}

function unknown(name: string, remedy: string | undefined): string {
  return `${name}() is not supported${remedy === undefined ? "; there are startsWith, endsWith, contains, glob, duration and timestamp" : `: ${remedy}`}`;
}
