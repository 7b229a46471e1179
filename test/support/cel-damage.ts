/** Damage to the text of an expression: some of it is refused, the rest means something else. */
import type { Random } from "./random.js";

const strays = [
  ...[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "&&",
    "||",
    "?",
    ":",
    ",",
    ".",
    "==",
    "<",
    "in",
    "size",
    "name",
    "now",
    "mtime",
    "true",
    "0",
  ],
  ...[
    "-9223372036854775808",
    "9223372036854775807",
    '"mov"',
    "r'\\'",
    "b'x'",
    "u",
    "0x",
    "GB",
    "\\",
    '"',
    "'",
    '"""',
    "//",
    "\n",
    "has",
    ".all(x, x)",
    "?.",
    "[?",
    "1u",
    "1.0",
    "𝒳",
    "\u00a0",
  ],
];

/** One to three tokens or characters taken out, doubled, exchanged or put in. */
export function mutate(random: Random, source: string): string {
  const parts = random.next() < 0.7 ? (source.match(/\w+|"[^"]*"|'[^']*'|[<>=!]=|&&|\|\||\s+|./gsu) ?? []) : [...source];
  for (let n = random.between(1, 3); n > 0; n--) {
    const at = random.between(0, parts.length - 1);
    const other = random.between(0, parts.length - 1);
    const change = random.between(0, 4);
    if (change === 0) parts.splice(at, 1);
    if (change === 1) parts.splice(at, 0, parts[other] ?? "");
    if (change === 2) [parts[at], parts[other]] = [parts[other] ?? "", parts[at] ?? ""];
    if (change === 3) parts.splice(at, 0, random.pick(strays));
    if (change === 4) parts[at] = random.pick(strays);
  }
  return parts.join("");
}
