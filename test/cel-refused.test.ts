/** Malformed and ill-typed expressions are refused with a position, before anything reaches the database. */
import type pg from "pg";
import { expect, inject, test, vi } from "vitest";
import { checkExpression, ExpressionError, type FileValues } from "../src/planner/cel/index.js";
import { expectAgreement } from "./support/cel-compare.js";
import { generateRefused, neverRight } from "./support/cel-refused.js";
import { randomFile, storeFiles } from "./support/cel-values.js";
import { withClient } from "./support/postgres.js";
import { seededRandom } from "./support/random.js";

const expressions = Number(process.env.FROSTLINE_TEST_EXPRESSIONS ?? 500);

test("random ones with one fault", { timeout: 300_000 }, async () => {
  const random = seededRandom();
  const files = Array.from({ length: 50 }, () => randomFile(random));
  const reasons = new Set<string>();
  await withClient(inject("cluster").superuserUrl, async (client) => {
    await storeFiles(client, files);
    const query = vi.spyOn(client, "query");
    for (let n = 0; n < expressions; n++) {
      const source = generateRefused({ random, files });
      const error = await ask(client, source, files).catch((refused: unknown) => refused);
      if (!(error instanceof ExpressionError)) throw new Error(`not refused as it should be: ${JSON.stringify(source)}`, { cause: error });
      expectPosition(source, error);
      reasons.add(error.reason.replace(/[^a-z ]/gi, "").slice(0, 20));
    }
    expect(query).not.toHaveBeenCalled();
    await expectAgreement(client, [checkExpression("size > 1")], files);
    expect(query).toHaveBeenCalledOnce();
  });
  expect(reasons.size).toBeGreaterThan(20);
});

test("every fault in every place, at or after the fault", () => {
  const places = [
    "%",
    "% && true",
    "true || %",
    "!(%)",
    "name == %",
    "% == name",
    "size > %",
    "mtime > %",
    "now - mtime > %",
    "(1 < 2 ? % : true)",
  ];
  const sources = neverRight.flatMap((fault) => places.map((place) => ({ fault, source: place.replace("%", () => fault) })));
  const taken = sources.filter(({ source, fault }) => {
    try {
      checkExpression(source);
      return true;
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw new Error(`not refused as it should be: ${source}`, { cause: error });
      expectPosition(source, error);
      return error.column - 1 < source.indexOf(fault);
    }
  });
  expect(taken).toEqual([]);
});

test.each([
  ["size > 10GB", 1, 8, /10 \* GB/],
  ["size > 10 GiB", 1, 11, /10 \* GB/],
  ["last_used < 90d", 1, 13, /duration\("90d"\)/],
  ["now - last_used > 90", 1, 19, /duration\("90d"\)/],
  ['name = "a"', 1, 6, /==/],
  ["size > 1 and size < 5", 1, 10, /&&/],
  ['name == "a\n', 1, 9, /close the quote/],
  ["true &&\n  (false ||)", 2, 12, /expected a value/],
  ["true &&\r\n\r\n  nobody", 3, 3, /no variable nobody.*quotes/],
  ['name == "𝒳😀" && size', 1, 17, /compare it/],
  ['(owner == "é") && ((size + "5") > 1)', 1, 28, /number and a text/],
  ["/* no */ true", 1, 1, /expected a value/],
  ["true // fine\n // fine too\n && 1", 3, 5, /needs a condition/],
  ["size * size > 5", 1, 1, /written out/],
  ["10 * GB < (9223372036854775807 * 2)", 1, 12, /comes to 18446744073709551614/],
  ['glob(path, "/a**")', 1, 12, /\*\*/],
  ['extension in ["mov", ".mxf"]', 1, 22, /write "mxf"/],
  ["!(!(size > 1))", 1, 1, /leave both out/],
  ["name == r'\\d' || name == '\\d'", 1, 27, /no escape \\d/],
])("%j is refused at line %i, column %i", (source, line, column, reason) => {
  const refused = () => checkExpression(source);
  expect(refused).toThrow(ExpressionError);
  expect(refused).toThrow(expect.objectContaining({ line, column, reason: expect.stringMatching(reason) }));
});

test("what is as long, as deep and as wide as may be is taken, one more is not", () => {
  const taken = (source: string) => checkExpression(source).source === source;
  const refused = (source: string, reason: RegExp) => expect(() => checkExpression(source)).toThrow(reason);
  const long = (length: number) => `name == "${"x".repeat(length - 10)}"`;
  expect(taken(long(10_000))).toBe(true);
  refused(long(10_001), /10001 characters; the most is 10000/);
  const brackets = (depth: number) => `${"(".repeat(depth)}true${")".repeat(depth)}`;
  expect(taken(brackets(50))).toBe(true);
  refused(brackets(51), /line 1, column 51: brackets are nested/);
  const sum = (operators: number) => `size > 1${" + 1".repeat(operators)}`;
  expect(taken(sum(98))).toBe(true);
  refused(sum(99), /operators are nested more than 100 deep/);
  // Wide is not deep.
  expect(taken(Array(600).fill("size > 1").join("&&"))).toBe(true);
  expect(taken(`name in [${Array(2000).fill("'a'").join(",")}]`)).toBe(true);
});

function expectPosition(source: string, error: ExpressionError): void {
  const lines = source.split(/\r\n|\r|\n/);
  const columns = [...(lines[error.line - 1] ?? "")].length;
  expect(error.line, source).toSatisfy((line: number) => line >= 1 && line <= lines.length);
  expect(error.column, source).toSatisfy((column: number) => column >= 1 && column <= columns + 1);
  expect(error.message).toBe(`line ${error.line}, column ${error.column}: ${error.reason}`);
  expect(error.reason, source).not.toBe("");
}

/** As a rule is used: checked, compiled, and only then sent. */
async function ask(client: pg.Client, source: string, files: FileValues[]): Promise<number> {
  return expectAgreement(client, [checkExpression(source)], files);
}
