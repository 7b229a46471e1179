/** The many ways to write one expression: white space, comments, parentheses, quotes, escapes. */
import type { Random } from "./random.js";

export function binary(random: Random, left: string, operator: string, right: string): string {
  return `${left}${space(random)}${operator}${space(random)}${right}`;
}

export function group(random: Random, text: string): string {
  return random.next() < 0.1 ? `((${text}${space(random)}))` : `(${space(random)}${text})`;
}

/** `!(!x)` and `-(-x)` are refused, for the parser drops both signs. */
export function notDoubled(sign: "!" | "-", text: string): string {
  const start = text.replace(/^(?:[\s(]|\/\/.*\n)*/, "");
  if (!start.startsWith(sign)) return text;
  return sign === "!" ? `true && ${text}` : `0 + ${text}`;
}

export function space(random: Random): string {
  return random.next() < 0.8 ? " " : random.pick(["", "", "\n", "\r\n", "\t", " // a note: (\"' \n", "\f"]);
}

/** The text as a literal: one of the quotes, raw where that is possible, some characters as escapes. */
export function spell(random: Random, text: string): string {
  const quote = random.pick(['"', "'", '"""', "'''"]);
  const plain = !text.includes(quote.charAt(0)) && !/[\r\n]/.test(text);
  if (plain && random.next() < 0.2) return `${random.pick(["r", "R"])}${quote}${text}${quote}`;
  const written = Array.from(text, (character) => {
    const code = character.codePointAt(0) as number;
    if (character === "\\" || character === quote.charAt(0)) return `\\${character}`;
    if (character === "\n") return quote.length === 3 && random.next() < 0.5 ? character : "\\n";
    if (character === "\r") return "\\r";
    if (random.next() > 0.1) return character;
    if (code < 0x80 && random.next() < 0.5) return random.pick([`\\x${hex(code, 2)}`, `\\${code.toString(8).padStart(3, "0")}`]);
    return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
  });
  return `${quote}${written.join("")}${quote}`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}
