/** Where a source stops being an expression. Asked only when the parser has refused it, for the parser seldom knows. */
import { units } from "./language.js";
import type { Source, Token } from "./tokens.js";

interface Fault {
  offset: number;
  reason: string;
}

const operators = new Set(["&&", "||", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "in"]);

/** Undefined when the tokens are in order, and something within one of them is not. */
export function syntaxFault(source: Source): Fault | undefined {
  const reader = { source, index: 0 };
  try {
    readExpression(reader);
    if (reader.index < source.tokens.length) stop(reader, "an operator, such as && or ==");
    return undefined;
  } catch (fault) {
    if (fault instanceof Stop) return fault.fault;
    throw fault;
  }
}

class Stop extends Error {
  constructor(readonly fault: Fault) {
    super(fault.reason);
  }
}

interface Reader {
  source: Source;
  index: number;
}

function readExpression(reader: Reader): void {
  readOperand(reader);
  while (operators.has(peek(reader))) {
    reader.index += 1;
    readOperand(reader);
  }
  if (!accept(reader, "?")) return;
  readExpression(reader);
  expect(reader, ":");
  readExpression(reader);
}

function readOperand(reader: Reader): void {
  const sign = peek(reader);
  if (sign === "!" || sign === "-") while (peek(reader) === sign) reader.index += 1;
  const token = reader.source.tokens[reader.index];
  if (token?.kind === "string") reader.index += 1;
  else if (token?.kind === "number") readNumber(reader, token.text);
  else if (token?.kind === "word" && token.text !== "in") {
    reader.index += 1;
    if (accept(reader, "(")) readList(reader, ")");
  } else if (accept(reader, "(")) {
    readExpression(reader);
    expect(reader, ")");
  } else if (accept(reader, "[")) readList(reader, "]");
  else stop(reader, "a value or a variable");
  readTail(reader);
}

function readTail(reader: Reader): void {
  for (;;) {
    if (accept(reader, "[")) {
      readExpression(reader);
      expect(reader, "]");
    } else if (accept(reader, ".")) {
      if (reader.source.tokens[reader.index]?.kind !== "word") stop(reader, "the name of a function");
      reader.index += 1;
      if (accept(reader, "(")) readList(reader, ")");
    } else return;
  }
}

/** A fraction is refused whether or not the parser takes it. */
function readNumber(reader: Reader, text: string): void {
  if (!/^(?:0x[\da-fA-F]+|\d+)[uU]?$/.test(text)) stop(reader, "a whole number");
  reader.index += 1;
}

function readList(reader: Reader, end: ")" | "]"): void {
  if (accept(reader, end)) return;
  do {
    if (end === "]" && accept(reader, end)) return;
    readExpression(reader);
  } while (accept(reader, ","));
  expect(reader, end);
}

function peek(reader: Reader): string {
  return reader.source.tokens[reader.index]?.text ?? "";
}

function accept(reader: Reader, text: string): boolean {
  if (peek(reader) !== text) return false;
  reader.index += 1;
  return true;
}

function expect(reader: Reader, text: string): void {
  if (!accept(reader, text)) stop(reader, text);
}

function stop(reader: Reader, expected: string): never {
  const { tokens, text } = reader.source;
  const token = tokens[reader.index];
  const found = token === undefined ? "the end" : token.text.length > 20 ? `${token.text.slice(0, 20)}…` : token.text;
  const reason = `found ${found}, expected ${expected}${hint(token, tokens[reader.index - 1])}`;
  throw new Stop({ offset: token?.start ?? text.trimEnd().length, reason });
}

/** What people write in place of CEL. */
function hint(token: Token | undefined, before: Token | undefined): string {
  const [, digits, letters] = /^(\d+)([A-Za-z]+)$/.exec(token?.text ?? "") ?? [];
  const [amount, unit] = digits === undefined && before?.kind === "number" ? [before.text, token?.text ?? ""] : [digits, letters ?? ""];
  const sizeUnit = `${unit.toUpperCase().replace(/I?B$/, "")}B`;
  if (amount !== undefined && Object.hasOwn(units, sizeUnit)) return `: write ${amount} * ${sizeUnit}`;
  if (amount !== undefined && /^(d|h|m|s|w|y|days?|hours?|weeks?|months?|years?)$/i.test(unit)) return ': write duration("90d")';
  const word = token?.text.toLowerCase();
  if (word === "=") return ": write ==";
  if (word === "and" || word === "&") return ": write &&";
  if (word === "or" || word === "|") return ": write ||";
  if (before?.text.toLowerCase() === "not") return ": write !";
  return "";
}
