/** Explain's ground: for a file just inside and one just outside each condition, the term that decides, its text, its place, what it saw. */
import { expect, test } from "vitest";
import { checkExpression, type ExplainedTerm, evaluate, explainTerms, type FileValues, termsOf } from "../src/planner/cel/index.js";
import { nowUnix } from "./support/cel-values.js";

const day = 86_400n;
const gibibyte = 1024n ** 3n;

const source = `size >= 10 * GB // big
  && now - last_used > duration("90d")
  && (extension in ["mov", "mxf"] || name.endsWith(".r3d"))
  && !glob(path, "/Active/**") && owner != "root"
  && (share == "media" ? mtime < timestamp("2026-01-01T00:00:00Z") : dir.startsWith("/old")) && ctime <= mtime
  && path.contains("𝒳") == true && tier_state == ""`;

const inside: FileValues = {
  share: "media",
  path: "/Done/𝒳/a.mov",
  dir: "/Done/𝒳",
  name: "a.mov",
  extension: "mov",
  owner: "",
  size: 10n * gibibyte,
  atime: 0n,
  mtime: 1_767_225_599n,
  ctime: 1_767_225_599n,
  last_used: nowUnix - 90n * day - 1n,
  tier_state: "",
};

const justOutside: [text: string, change: Partial<FileValues>, line: number, column: number][] = [
  ["size >= 10 * GB", { size: 10n * gibibyte - 1n }, 1, 1],
  ['now - last_used > duration("90d")', { last_used: nowUnix - 90n * day }, 2, 6],
  ['extension in ["mov", "mxf"]', { extension: "mo" }, 3, 7],
  ['!glob(path, "/Active/**")', { path: "/Active/𝒳" }, 4, 6],
  ['owner != "root"', { owner: "root" }, 4, 35],
  ['mtime < timestamp("2026-01-01T00:00:00Z")', { mtime: 1_767_225_600n }, 5, 26],
  ['dir.startsWith("/old")', { share: "Media" }, 5, 70],
  ["ctime <= mtime", { ctime: 1_767_225_600n }, 5, 97],
  ['path.contains("𝒳") == true', { path: "/Done/X/a.mov" }, 6, 6],
  ['tier_state == ""', { tier_state: "PLANNED" }, 6, 36],
];

test("the file just inside is taken, and every term that has to hold does", () => {
  const expression = checkExpression(source);
  expect(evaluate(expression, inside, nowUnix)).toBe(true);
  const explained = explainTerms(expression, inside, nowUnix);
  expect(explained).toMatchObject({ kind: "all", outcome: { holds: true }, line: 1, column: 1, text: source });
  expect(explained.terms.map((term) => term.outcome)).toEqual(Array(9).fill({ holds: true }));
});

test.each(justOutside)("just outside of %s", (text, change, line, column) => {
  const expression = checkExpression(source);
  const file = { ...inside, ...change };
  expect(evaluate(expression, file, nowUnix)).toBe(false);
  const failing = explainTerms(expression, file, nowUnix).terms.filter((term) => !("holds" in term.outcome && term.outcome.holds));
  expect(failing).toHaveLength(1);
  const term = flat(failing[0] as ExplainedTerm).find((part) => part.text === text);
  expect(term, text).toMatchObject({ line, column, outcome: { holds: false } });
});

test("a test says what it saw, times as people write them", () => {
  const [, age] = explainTerms(checkExpression(source), inside, nowUnix).terms;
  expect(age?.seen).toEqual([
    { variable: "now", value: "2026-11-25T00:00:00Z" },
    { variable: "last_used", value: "2026-08-26T23:59:59Z" },
  ]);
});

test("a number out of range is an error of its term, and the file is not taken", () => {
  const expression = checkExpression("size > 0 && !(size + 1 > 0)");
  const explained = explainTerms(expression, { ...inside, size: 2n ** 63n - 1n }, nowUnix);
  expect(explained.terms.map((term) => term.outcome)).toEqual([{ holds: true }, { error: expect.stringMatching(/overflow/) }]);
  expect(evaluate(expression, { ...inside, size: 2n ** 63n - 1n }, nowUnix)).toBe(false);
});

test("a name with a dot before it, and a negative number, are whole", () => {
  const texts = termsOf(checkExpression("-5 < .size && .size > - 5 && .glob(path, '*') && size in [ -1, 2 ]")).terms.map(
    (term) => term.text,
  );
  expect(texts).toEqual(["-5 < .size", ".size > - 5", ".glob(path, '*')", "size in [ -1, 2 ]"]);
});

test("the tree is that of the source, however the operators are grouped and spelled", () => {
  const tree = termsOf(checkExpression("true||(size>1&&((name==\n'x')))||!(((size) in [1])) // end"));
  const shape = (term: typeof tree): unknown => [term.kind, term.text, term.line, term.column, ...term.terms.map(shape)];
  expect(shape(tree)).toEqual([
    ...["any", "true||(size>1&&((name==\n'x')))||!(((size) in [1]))", 1, 1],
    ["test", "true", 1, 1],
    ["all", "size>1&&((name==\n'x'))", 1, 8, ["test", "size>1", 1, 8], ["test", "name==\n'x'", 1, 18]],
    ["not", "!(((size) in [1]))", 2, 9, ["test", "(size) in [1]", 2, 12]],
  ]);
});

function flat(term: ExplainedTerm): ExplainedTerm[] {
  return [term, ...term.terms.flatMap(flat)];
}
