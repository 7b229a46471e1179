/** Which stretch of the source a node of the tree was read from. */
import type { CelExpr, Parsed } from "./parse.js";
import { type Source, type Token, tokenAt } from "./tokens.js";

/** Token indices, both ends included. */
interface Stretch {
  first: number;
  last: number;
}

/** UTF-16 units from the start of the source; `end` is excluded. */
export interface Span {
  start: number;
  end: number;
}

/** Without the parentheses around it. */
export function spanOf(source: Source, parsed: Parsed, expr: CelExpr): Span {
  const { first, last } = bareStretch(source, parsed, expr);
  return { start: source.tokens[first]?.start ?? 0, end: source.tokens[last]?.end ?? source.text.length };
}

function bareStretch(source: Source, parsed: Parsed, expr: CelExpr): Stretch {
  const at = tokenAt(source, parsed.offsetOf(expr));
  const kind = expr.exprKind;
  switch (kind.case) {
    case "callExpr": {
      const parts = (kind.value.target ? [kind.value.target] : []).concat(kind.value.args).map((part) => stretch(source, parsed, part));
      const first = Math.min(at, ...parts.map((part) => part.first));
      const last = Math.max(...parts.map((part) => part.last), at);
      if (kind.value.target) return { first, last: closes(source, at + 2) ?? last };
      if (/^\w+$/.test(kind.value.function)) return { first, last: closes(source, at + 1) ?? closes(source, at + 2) ?? last };
      if (kind.value.function === "_[_]") return { first, last: last + 1 };
      return { first: kind.value.function.startsWith("_") || kind.value.function === "@in" ? (parts[0]?.first ?? at) : at, last };
    }
    case "selectExpr": {
      const operand = kind.value.operand && stretch(source, parsed, kind.value.operand);
      return { first: operand?.first ?? at, last: at + 1 };
    }
    case "listExpr":
    case "structExpr":
      return { first: at, last: closes(source, at) ?? at };
    default:
      // A negative number, or a name that says with a dot that it is one of the outermost.
      return { first: at, last: /^[-.]$/.test(source.tokens[at]?.text ?? "") ? at + 1 : at };
  }
}

/** With the parentheses around it, which are part of its parent's text. */
function stretch(source: Source, parsed: Parsed, expr: CelExpr): Stretch {
  let { first, last } = bareStretch(source, parsed, expr);
  while (isGroup(source, first - 1) && source.tokens[first - 1]?.partner === last + 1) {
    first -= 1;
    last += 1;
  }
  return { first, last };
}

function closes(source: Source, index: number): number | undefined {
  return source.tokens[index]?.partner;
}

/** A parenthesis that groups; that of a call follows a name. */
function isGroup(source: Source, index: number): boolean {
  const token: Token | undefined = source.tokens[index];
  const before = source.tokens[index - 1];
  return token?.text === "(" && (before?.kind !== "word" || before.text === "in");
}
