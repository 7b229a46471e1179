/** The library's parser, with its faults told as ours. */
import { parse as parseCel } from "@bufbuild/cel";
import { ExpressionError } from "./language.js";
import { syntaxFault } from "./syntax.js";
import { errorAt, type Source, type Token, tokenAt } from "./tokens.js";

export type CelExpr = NonNullable<ReturnType<typeof parseCel>["expr"]>;

export interface Parsed {
  expr: CelExpr;
  /** Where a node was read: UTF-16 units from the start, white space before it included. */
  offsetOf(expr: CelExpr): number;
}

/** Throws ExpressionError. */
export function parseSource(source: Source): Parsed {
  let parsed: ReturnType<typeof parseCel>;
  try {
    parsed = parseCel(source.uncommented);
  } catch (error) {
    throw parseFault(source, error);
  }
  const { expr, sourceInfo } = parsed;
  if (expr === undefined) throw new ExpressionError(1, 1, "the expression is empty: write a condition, or true");
  return { expr, offsetOf: (node) => sourceInfo?.positions[node.id.toString()] ?? 0 };
}

function parseFault(source: Source, error: unknown): ExpressionError {
  // The parser often stops before an operator whose right side is at fault: the tokens tell where.
  const fault = syntaxFault(source);
  if (fault) return errorAt(source.text, fault.offset, fault.reason);
  const reason = `this cannot be read (${parserReason(error)}): write it more simply`;
  return errorAt(source.text, syntaxErrorOffset(error) ?? 0, reason);
}

/** The parser's error class is not exported; it is known by where it says it stopped. */
function syntaxErrorOffset(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("location" in error)) return undefined;
  const { start } = error.location as { start: { offset: number } };
  return start.offset;
}

function parserReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "rawMessage" in error ? String(error.rawMessage) : error.message;
}

/** Refuses what the parser drops without a trace, `!!x`, `--x` and `!(!x)`: nobody could say any more what x was. */
export function refuseDropped(source: Source, parsed: Parsed): void {
  const kept = new Set<number>();
  const visit = (node: CelExpr): void => {
    if (node.exprKind.case === "callExpr") {
      const { function: name, target, args } = node.exprKind.value;
      if (name === "!_" || name === "-_" || name === "_-_") kept.add(tokenAt(source, parsed.offsetOf(node)));
      if (target) visit(target);
      args.forEach(visit);
    }
    if (node.exprKind.case === "listExpr") node.exprKind.value.elements.forEach(visit);
    if (node.exprKind.case === "constExpr") kept.add(tokenAt(source, parsed.offsetOf(node)));
  };
  visit(parsed.expr);
  const dropped = source.tokens.findIndex((token, index) => (token.text === "!" || token.text === "-") && !kept.has(index));
  if (dropped < 0) return;
  const token = source.tokens[dropped] as Token;
  throw errorAt(source.text, token.start, `a second ${token.text} takes the first one back: leave both out`);
}
