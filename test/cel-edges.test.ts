/** Expressions chosen by hand, where two engines could part: every comparison at every limit, and every spelling that means something. */
import { describe, expect, inject, test } from "vitest";
import { checkExpression, ExpressionError, type FileValues } from "../src/planner/cel/index.js";
import { formatTimestamp } from "../src/planner/cel/literals.js";
import { expectAgreement, matchConstants, predicate } from "./support/cel-compare.js";
import { generateExpression } from "./support/cel-expressions.js";
import { earliestUnix, edgeSizes, edgeTexts, edgeTimes, latestUnix, nowUnix, randomFile, storeFiles } from "./support/cel-values.js";
import { withClient } from "./support/postgres.js";
import { fromSeed, type Random, seededRandom } from "./support/random.js";

const operators = ["<", "<=", ">", ">=", "==", "!="];
const limits = ["-9223372036854775808", "-9223372036854775807", "-5", "-1", "0", "1", "7", "9223372036854775806", "9223372036854775807"];

/** Compares in batches, as the files' table and as constants of the statement. */
async function compareAll(sources: string[], files: FileValues[]): Promise<number> {
  let decisive = 0;
  await withClient(inject("cluster").superuserUrl, async (client) => {
    await storeFiles(client, files);
    for (let from = 0; from < sources.length; from += 100) {
      const batch = sources.slice(from, from + 100).map(checkExpression);
      decisive += await expectAgreement(client, batch, files);
      for (const file of files.slice(0, 3)) expect(await matchConstants(client, batch, file)).not.toContain(null);
    }
  });
  return decisive;
}

describe("both engines agree", () => {
  const template = randomFile(fromSeed(1));

  test("on every comparison of a number with every limit", { timeout: 300_000 }, async () => {
    const forms = [
      "size",
      "size + 5",
      "size - 5",
      "5 - size",
      "-size",
      "size * 2",
      "size * -3 + 7",
      "7 - size * 3",
      "size * 9223372036854775807",
      "(size + 1) - 1",
    ];
    const more = [
      "(size - 9223372036854775807) - 2",
      "size * 0",
      "size - size",
      "(size + size) - size",
      "(size + 1) * 0",
      "-9223372036854775808 * size",
    ];
    const compared = [...forms, ...more].flatMap((form) =>
      limits.flatMap((limit) => [
        ...operators.map((operator) => `${form} ${operator} ${limit}`),
        `${limit} < ${form}`,
        `!(${form} >= ${limit})`,
        `${form} in [${limit}, 3]`,
        `(${form} == ${limit}) == (size > 0)`,
        `${form} > ${limit} || size < 5`,
        `${form} > ${limit} ? true : size != 1`,
      ]),
    );
    const files = edgeSizes.map((size) => ({ ...template, size }));
    expect(await compareAll(compared, files)).toBeGreaterThan(compared.length / 2);
  });

  test("on every comparison of times and durations with every limit", { timeout: 300_000 }, async () => {
    const ages = [
      "now - last_used",
      "last_used - now",
      "atime - mtime",
      "mtime - atime + (mtime - ctime)",
      "(now - atime) - (now - mtime)",
      "(now - mtime) + (now - mtime)",
    ];
    const more = ['(mtime - now) - duration("106751d")', "(now - ctime) + (now - ctime) + (now - ctime)", "atime - atime"];
    const durations = ["0s", "-1s", "1s", "90d", "-90d", "106751d", "-106751d", "9223372036s"];
    const times = [
      "mtime",
      'mtime + duration("90d")',
      'duration("-1s") + mtime',
      "now + (atime - mtime)",
      "mtime + (mtime - now)",
      'mtime - duration("106751d")',
      "atime - (now - now)",
    ];
    const instants = [earliestUnix, earliestUnix + 1n, -11_644_473_600n, -1n, 0n, nowUnix, latestUnix - 1n, latestUnix];
    const compared = [...ages, ...more].flatMap((age) =>
      durations.flatMap((text) => operators.map((operator) => `${age} ${operator} duration("${text}")`)),
    );
    for (const time of times)
      for (const instant of instants)
        compared.push(...operators.map((operator) => `${time} ${operator} timestamp("${formatTimestamp(instant)}")`), `!(${time} < now)`);
    const random = seededRandom();
    const files = edgeTimes.flatMap((mtime) =>
      edgeTimes
        .slice(0, 8)
        .map((atime) => ({ ...template, mtime, atime, ctime: random.pick(edgeTimes), last_used: random.pick(edgeTimes) })),
    );
    expect(await compareAll(compared, files)).toBeGreaterThan(compared.length / 2);
  });

  test("on every test of a text with every awkward text", { timeout: 300_000 }, async () => {
    const quoted = (text: string) => JSON.stringify(text).replace("\u007f", "\\x7f");
    const compared = edgeTexts.flatMap((text) => [
      `name == ${quoted(text)}`,
      `name != ${quoted(text)}`,
      `name in [${quoted(text)}, "zz"]`,
      ...["startsWith", "endsWith", "contains"].flatMap((method) => [
        `name.${method}(${quoted(text)})`,
        `${quoted(text)}.${method}(name)`,
        `owner.${method}(name)`,
      ]),
      ...(text.includes("**") || text === ""
        ? []
        : [`glob(name, ${quoted(text)})`, `glob(name, ${quoted(`*${text}`.replace("**", "*"))})`]),
    ]);
    const files = edgeTexts.map((name, n) => ({ ...template, name, owner: edgeTexts[(n + 7) % edgeTexts.length] as string }));
    expect(await compareAll(compared, files)).toBeGreaterThan(compared.length / 2);
  });

  test("with columns of different collations on both sides", { timeout: 300_000 }, async () => {
    const texts = ["share", "path", "dir", "name", "extension", "owner", "tier_state"];
    const compared = texts.flatMap((a) =>
      texts.flatMap((b) => [`${a} == ${b}`, `${a} != ${b}`, `${a}.startsWith(${b})`, `${a}.endsWith(${b})`, `${a}.contains(${b})`]),
    );
    const random = seededRandom();
    await compareAll(
      compared,
      Array.from({ length: 40 }, () => randomFile(random)),
    );
  });
});

test("PostgreSQL takes what is as long, as deep and as wide as may be", async () => {
  const nested = (depth: number): string => (depth === 0 ? "size + 1 > 2" : `((${nested(depth - 1)}) == (size > ${depth}))`);
  const chosen = (depth: number): string => (depth === 0 ? "true" : `size + ${depth} > 9 ? name != "a" : ${chosen(depth - 1)}`);
  const sources = [
    Array(900).fill("size+1>9").join("||"),
    Array(600).fill("(size > 1)").join(" && "),
    `name in [${Array.from({ length: 1200 }, (_, n) => `'${n}'`).join(",")}]`,
    `path == "${"𝒳".repeat(4900)}"`,
    `size > 1${" + 1".repeat(98)}`,
    `size${" + size".repeat(97)} > 1`,
    `now${" + (atime - mtime)".repeat(96)} > ctime`,
    Array(30)
      .fill(`!glob(path, "${"*a".repeat(50)}")`)
      .join(" && "),
    nested(24),
    chosen(95),
  ];
  const random = seededRandom();
  const files = Array.from({ length: 20 }, () => randomFile(random));
  await compareAll(sources, files);
});

describe("spellings", () => {
  test.each([
    ["0x10 < size", "16 < size"],
    ["-0x10 < size", "-16 < size"],
    ["007 == size", "7 == size"],
    ["- 7 == size", "-7 == size"],
    ["size - -7 > 0", "size + 7 > 0"],
    ["size-1>0", "size - 1 > 0"],
    ["10 * GB <= size", "size >= 10737418240"],
    ["1 * KB * 1024 == size", "size == 1 * MB"],
    ["size + 1 in [2, 3,]", "(size + 1) in [2, 3]"],
    ['now - last_used > duration("1d")', 'now - last_used > duration("24h")'],
    ['now - last_used > duration("1h1d")', 'now - last_used > duration("25h0m0s")'],
    ['now - last_used > duration("1d1d")', 'now - last_used > duration("2d")'],
    ['now - last_used > duration("90d")', 'last_used < now - duration("90d")'],
    ['now - last_used > duration("90d")', 'duration("90d") < now - last_used'],
    ['mtime < timestamp("2026-01-01T01:00:00+01:00")', 'mtime < timestamp("2026-01-01T00:00:00Z")'],
    ["name == r'a\\b'", 'name == "a\\\\b"'],
    ['name == """a"b"""', "name == 'a\"b'"],
    ["name == '\\x41\\u0042\\U00000043\\104'", 'name == "ABCD"'],
    ["name == '\\a\\b\\f\\n\\r\\t\\v\\?\\`'", 'name == "\\u0007\\u0008\\u000c\\u000a\\u000d\\u0009\\u000b?`"'],
    ['name == "// no note" // a note', 'name == "// no note"'],
    ["true&&!false // a note", "true && !false"],
    ["size > 1 || size > 2 && size > 3", "size > 1 || (size > 2 && size > 3)"],
    ["size > 1 ? size > 2 : size > 3 ? size > 4 : size > 5", "size > 1 ? size > 2 : (size > 3 ? size > 4 : size > 5)"],
  ])("%s is %s", (one, other) => {
    expect(compiled(one)).toEqual(compiled(other));
  });

  // Unicode has several spellings of one letter; names are bytes, and these are two.
  test("what looks alike is not the same", () => {
    expect(compiled('name == "\u00e9"')).not.toEqual(compiled('name == "e\u0301"'));
  });
});

test("constants are calculated once: a column is compared with a parameter", () => {
  expect(compiled('now - last_used > duration("90d") && size - 10 * GB + 1 * KB >= 0 - 1 && 2 * 3 == 6')).toEqual({
    sql: "(((f.last_used < $1::bigint) AND coalesce((CASE WHEN f.size BETWEEN $2::bigint AND $3::bigint THEN (f.size >= $4::bigint) END), false)) AND TRUE)",
    values: [`${nowUnix - 90n * 86_400n}`, `${-(2n ** 63n) + 10_737_418_240n}`, `${2n ** 63n - 1n}`, "10737417215"],
  });
});

test("no text of the user stands in the SQL, and every parameter is used", () => {
  const random = seededRandom();
  const files = Array.from({ length: 50 }, () => randomFile(random));
  const words =
    /f\.[a-z_]+|::(?:bigint|text)(?:\[\])?|\b(?:AND|OR|NOT|CASE|WHEN|THEN|END|TRUE|FALSE|NULL::boolean|ANY|BETWEEN|COLLATE "C"|coalesce|false|starts_with|strpos|right|char_length|\d+)\b|COLLATE "C"|[()=<>~,+*\s-]/g;
  for (let n = 0; n < 300; n++) {
    const { sql, values } = compiled(wellTyped(random, files));
    const places = [...sql.matchAll(/\$(\d+)/g)].map((match) => Number(match[1]));
    expect(new Set(places)).toEqual(new Set(values.map((_, index) => index + 1)));
    expect(sql.replace(/\$\d+/g, "").replace(words, "")).toBe("");
  }
});

// Scans and events refuse such times, and verify looks for them: were one there, it must not stop the plan.
test("times that cannot be stored raise nothing", async () => {
  const [low, high] = [-(2n ** 63n), 2n ** 63n - 1n];
  const template = randomFile(fromSeed(1));
  const files = [low, high, 0n].flatMap((atime) =>
    [low, high, 0n].map((mtime) => ({ ...template, atime, mtime, ctime: high - 1n, last_used: low + 1n })),
  );
  const sources = [
    "atime - mtime > now - ctime",
    "mtime + (atime - ctime) < now",
    "last_used + (now - atime) + (mtime - ctime) != now",
    'now - atime > duration("90d")',
  ];
  await withClient(inject("cluster").superuserUrl, async (client) => {
    await storeFiles(client, files);
    const values: unknown[] = [];
    const list = sources.map((source) => predicate(checkExpression(source), values));
    const { rows } = await client.query({ text: `SELECT ${list.join(", ")} FROM f`, values, rowMode: "array" });
    expect(rows.flat().every((answer) => typeof answer === "boolean")).toBe(true);
  });
});

function wellTyped(random: Random, files: FileValues[]): string {
  for (;;) {
    const source = generateExpression({ random, files });
    try {
      return checkExpression(source).source;
    } catch (error) {
      if (!(error instanceof ExpressionError && error.reason.startsWith("this comes to"))) throw error;
    }
  }
}

function compiled(source: string): { sql: string; values: unknown[] } {
  const values: unknown[] = [];
  return { sql: predicate(checkExpression(source), values), values };
}
