/**
 * The source cut into tokens. The library parses; tokens bound the nesting before it does, blank out comments
 * (its grammar has no comment at the end of the input), and give every node a stretch of the source.
 */
import { ExpressionError, nestingAtMost, sourceLengthAtMost } from "./language.js";

export interface Token {
  kind: "string" | "number" | "word" | "sign";
  text: string;
  /** UTF-16 units from the start of the source. */
  start: number;
  end: number;
  /** The index of the bracket that closes or opens this one. */
  partner?: number;
}

export interface Source {
  text: string;
  /** `text` with every comment turned into spaces: positions stay. */
  uncommented: string;
  tokens: Token[];
}

const pattern = new RegExp(
  [
    /(?<space>[\t\n\f\r ]+)/,
    /(?<comment>\/\/[^\r\n]*)/,
    /(?<raw>(?:[rR][bB]?|[bB][rR])(?:""".*?"""|'''.*?'''|"[^"\r\n]*"|'[^'\r\n]*'))/,
    /(?<string>[bB]?(?:"""(?:\\.|[^\\])*?"""|'''(?:\\.|[^\\])*?'''|"(?:\\[^\r\n]|[^"\\\r\n])*"|'(?:\\[^\r\n]|[^'\\\r\n])*'))/,
    /(?<number>\d[\w.]*)/,
    /(?<word>[_a-zA-Z]\w*)/,
    /(?<sign>&&|\|\||[=!<>]=|.)/,
  ]
    .map((part) => part.source)
    .join("|"),
  "suy",
);

const closing: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };

/** Throws ExpressionError for what no parser should see: too long, too deep, no text. */
export function readSource(text: string): Source {
  if (text.length > sourceLengthAtMost)
    throw new ExpressionError(
      1,
      1,
      `the expression has ${text.length} characters; the most is ${sourceLengthAtMost}: split the rule, or use glob() in place of a long list`,
    );
  const surrogate = /\p{Surrogate}|\0/u.exec(text);
  if (surrogate) throw errorAt(text, surrogate.index, "half a character, or a NUL, which no stored text contains: take it out");
  const source: Source = { text, uncommented: text, tokens: [] };
  pattern.lastIndex = 0;
  for (let match = pattern.exec(text); match?.groups; match = pattern.exec(text)) {
    const found = match[0];
    const start = match.index;
    const end = start + found.length;
    const { comment, raw, string, number, word, sign } = match.groups;
    if (comment !== undefined)
      source.uncommented = source.uncommented.slice(0, start) + " ".repeat(found.length) + source.uncommented.slice(end);
    else if ((raw ?? string) !== undefined) source.tokens.push({ kind: "string", text: found, start, end });
    else if (number !== undefined) source.tokens.push({ kind: "number", text: found, start, end });
    else if (word !== undefined) source.tokens.push({ kind: "word", text: found, start, end });
    else if (sign !== undefined) source.tokens.push({ kind: "sign", text: found, start, end });
  }
  const quote = source.tokens.find((token) => token.text === '"' || token.text === "'");
  if (quote) throw errorAt(text, quote.start, "this text does not end: close the quote on the same line");
  for (const token of source.tokens) if (token.kind === "string") refuseEscapes(text, token);
  pairBrackets(source);
  return source;
}

/** The parser keeps an escape that it does not know as it stands, and takes half a character without saying where. */
function refuseEscapes(text: string, token: Token): void {
  if (/^[bB]?[rR]/.test(token.text)) return;
  const escapes = /\\(?:[abfnrtv"'`\\?]|[xX]([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-3][0-7]{2})|(.))/gs;
  for (const match of token.text.matchAll(escapes)) {
    const code = Number.parseInt(match[2] ?? match[3] ?? "0", 16);
    if (match[5] !== undefined)
      throw errorAt(
        text,
        token.start + match.index,
        `there is no escape \\${match[5]}: write \\\\ for a backslash, or put r before the quote`,
      );
    if ((code >= 0xd800 && code < 0xe000) || code > 0x10ffff)
      throw errorAt(text, token.start + match.index, "this escape names no character: write the character itself");
  }
}

/** An unpaired bracket is left to the parser, which says what it expected. */
function pairBrackets(source: Source): void {
  const open: number[] = [];
  for (const [index, token] of source.tokens.entries()) {
    if (token.kind !== "sign") continue;
    if (closing[token.text] !== undefined) {
      open.push(index);
      if (open.length > nestingAtMost)
        throw errorAt(source.text, token.start, `brackets are nested more than ${nestingAtMost} deep: split the rule`);
      continue;
    }
    const opener = open.at(-1);
    if (opener === undefined || closing[source.tokens[opener]?.text ?? ""] !== token.text) continue;
    open.pop();
    token.partner = opener;
    (source.tokens[opener] as Token).partner = index;
  }
}

/** The index of the first token at or after `offset`; that of the last one if there is none. */
export function tokenAt(source: Source, offset: number): number {
  let low = 0;
  let high = source.tokens.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((source.tokens[middle] as Token).start >= offset) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Lines end with \n, \r\n or \r; both count from 1, columns in characters. */
export function positionAt(text: string, offset: number): { line: number; column: number } {
  const lines = text.slice(0, offset).split(/\r\n|\r|\n/);
  return { line: lines.length, column: [...(lines.at(-1) ?? "")].length + 1 };
}

export function errorAt(text: string, offset: number, reason: string): ExpressionError {
  const { line, column } = positionAt(text, offset);
  return new ExpressionError(line, column, reason);
}
