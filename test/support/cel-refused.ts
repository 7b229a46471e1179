/** Random expressions that must be refused: well-typed ones with one fault in a random place, or around the whole. */
import { type ExpressionType, type Generator, generateExpression } from "./cel-expressions.js";

/** Never fits, whatever is expected. */
export const neverRight = [
  ...["nobody", "Size", "sizes", "file.size", "c.size_bytes", "tenant_id", "_", "@result", "name.length", "path[0]", "now()", "size()"],
  ...["1.5", "1.0", "1e3", ".5", "5u", "0x10u", "null", 'b"mov"', "b'''x'''", "{1: 2}", "{}", "[]", "[1]", '["mov"]', "Rule{name: 1}"],
  ...[
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999999",
    "0x10000000000000000",
    "9223372036854775807 + 1",
    "(-9223372036854775808 - 1)",
  ],
  ...[
    "size / 2",
    "size % 2",
    "(size * size)",
    "-name",
    '-duration("1d")',
    "!size",
    "size(name)",
    "name.size()",
    "int(mtime)",
    "int(size)",
    "string(size)",
    "type(size)",
  ],
  ...[
    'duration("90")',
    'duration("90D")',
    'duration("1.5h")',
    'duration("")',
    'duration("1w")',
    'duration("500ms")',
    'duration("106752d")',
    "duration(90)",
    "duration(name)",
  ],
  ...[
    'duration("1d", "2d")',
    "duration()",
    'duration("99999999999999999999d")',
    'duration(" 1d")',
    'duration("-")',
    'duration("1d-1h")',
    "days(90)",
  ],
  ...[
    'timestamp("2026-02-30T00:00:00Z")',
    'timestamp("2026-01-01")',
    'timestamp("2026-01-01T00:00:00")',
    'timestamp("2026-01-01T24:00:00Z")',
    "timestamp(0)",
  ],
  ...[
    'timestamp("2026-01-01T00:00:60Z")',
    'timestamp("0000-01-01T00:00:00Z")',
    'timestamp("10000-01-01T00:00:00Z")',
    'timestamp("2026-01-01T00:00:00.5Z")',
  ],
  ...[
    'timestamp("9999-12-31T23:59:59-01:00")',
    'timestamp("0001-01-01T00:00:00+01:00")',
    'timestamp("2026-01-01t00:00:00z")',
    "timestamp(path)",
  ],
  ...['(timestamp("9999-12-31T23:59:59Z") + duration("1s"))', "mtime.getFullYear()", "(now + now)", '(duration("1d") * 2)', "(mtime + 5)"],
  ...[
    'path.matches(".*")',
    'path.glob("/**")',
    'startsWith(path, "/")',
    "path.startsWith()",
    'path.startsWith("a", "b")',
    "path.startsWith(1)",
    'size.startsWith("1")',
  ],
  ...[
    "glob(path)",
    "glob(path, name)",
    'glob(path, "a**b")',
    'glob(path, "")',
    'glob("/**")',
    'glob(size, "*")',
    'glob(path, "/**", 1)',
    "glob(path, 1)",
  ],
  ...[
    "has(name.x)",
    "has(size)",
    "[1, 2].all(x, x > size)",
    '["a"].exists(x, x == name)',
    "[1].map(x, x + 1)",
    "[size].filter(x, x > 1)",
    "[1].exists_one(x, x > 1)",
  ],
  ...[
    '(name < "b")',
    '("a" >= owner)',
    "(true < false)",
    "(true + true)",
    '("a" + name)',
    "(size ? 1 : 2)",
    "(true ? 1 : 2)",
    '(true ? "a" : "b")',
    "(size == name)",
  ],
  ...[
    "(mtime == 0)",
    "(mtime > size)",
    "(now - mtime > 90)",
    "(now > 90)",
    '(size > "10GB")',
    "(true == size)",
    '(name == duration("1d"))',
    '(size == timestamp("2026-01-01T00:00:00Z"))',
  ],
  ...[
    '(extension == ".mov")',
    '(extension == "MOV")',
    '(extension in ["mov", "MXF"])',
    '(tier_state == "STUB")',
    '("stubbed" != tier_state)',
    '(tier_state in ["STUBBED", "x"])',
  ],
  ...[
    '(name in "abc")',
    "(name in [])",
    '(size in [1, "a"])',
    "(size in [1.0])",
    "(size in [size])",
    "(name in [name])",
    "(name in [1])",
    "(mtime in [now])",
    "(size in 5)",
    "(true in [true])",
  ],
  ...["!!true", "--5", "!(!true)", "-(-size)", "(! (! (size > 1)))"],
  ...[
    "10GB",
    "10 GB",
    "90d",
    "0x",
    "1_000",
    "1e",
    "name x",
    "size size",
    "(size",
    "size)",
    "((",
    "$1",
    "?",
    "#",
    ";",
    ":",
    "@",
    "size ; size",
    "size = 1",
    "size <> 1",
    "size === 1",
  ],
  ...[
    "size &&& size",
    "true and false",
    "true OR false",
    "not true",
    "size > > 1",
    "a ?? b",
    "name ~ 'x'",
    "name LIKE 'a%'",
    "size BETWEEN 1 AND 2",
    "size::text",
    "'a' || 'b'",
  ],
  ...[
    '"half',
    "'half",
    '"a\\q"',
    '"\\ud800"',
    '"\\U00110000"',
    '"\\x4"',
    '"\\400"',
    '"nul \\u0000"',
    '"\\0"',
    '"nul \\x00"',
    "for",
    "if",
    "return",
    "in",
    "`name`",
    "“name”",
    "size > １",
  ],
];

/** A type that is not the expected one, as a fitting expression of its own. */
const others: Record<ExpressionType, string[]> = {
  bool: ["size", "name", "now", '"true"', "1", 'duration("1d")', "(size + 1)", "(now - mtime)"],
  string: ["size", "now", "true", "5", "(size > 1)", 'duration("1d")'],
  int: ["name", '"5"', "now", "true", 'duration("5s")', "mtime", "(now - mtime)"],
  time: ["name", '"2026-01-01T00:00:00Z"', "size", "true", "0", "1700000000"],
  duration: ["name", '"90d"', "size", "true", "90", "7776000"],
};

/** Around a whole expression that is fine. */
const wrappings: ((source: string) => string)[] = [
  (source) => `${source} )`,
  (source) => `( ${source}`,
  (source) => `${source} &&`,
  (source) => `|| ${source}`,
  (source) => `${source} ; SELECT 1`,
  (source) => `${source} "`,
  (source) => `${source} == size`,
  (source) => `${source} true`,
  (source) => `(${source}) + 1`,
  (source) => `${source} ? size : 2`,
  (source) => `${source} \u0000`,
  (source) => `${source} \ud800`,
  (source) => `"${source}`,
  (source) => `${source} UNION SELECT true`,
  (source) => `'; DROP TABLE file_current; -- ${source}`,
  (source) => `${source} in [true]`,
  (source) => `[${source}]`,
  (source) => `{${source}: 1}`,
  (source) => `(${source}).startsWith("a")`,
  (source) => `-(${source})`,
  () => "",
  () => " \n // nothing\n",
  () => `${"(".repeat(51)}true${")".repeat(51)}`,
  () => `size > ${"1 + ".repeat(120)}1`,
  () => `${"true ? true : ".repeat(120)}true`,
  () => `name == "${"x".repeat(10_000)}"`,
  () => `glob(path, "${"*a".repeat(51)}")`,
  () => `glob(path, "/${"a".repeat(500)}")`,
];

export function generateRefused(g: Generator): string {
  if (g.random.next() < 0.15) return wrapped(g);
  for (;;) {
    // Which place of the expression is the faulty one is decided beforehand; small ones may not have so many.
    let remaining = g.random.between(1, 12);
    let fault: string | undefined;
    const source = generateExpression({
      ...g,
      replace: (type) => {
        remaining -= 1;
        if (remaining !== 0) return undefined;
        fault = g.random.next() < 0.25 ? g.random.pick(others[type]) : g.random.pick(neverRight);
        return fault;
      },
    });
    if (fault !== undefined) return source;
  }
}

function wrapped(g: Generator): string {
  return g.random.pick(wrappings)(generateExpression(g));
}
