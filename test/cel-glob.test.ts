/** glob(): one meaning, told twice, as a regular expression for PostgreSQL and as a walk for the CEL evaluator. */
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { type Columns, checkExpression, evaluate, toPredicate } from "../src/planner/cel/index.js";
import { fileVariableTypes } from "../src/planner/cel/language.js";
import { nowUnix, randomFile } from "./support/cel-values.js";
import type { RunningCluster } from "./support/cluster.js";
import { missingPostgres14, postgres14, withClient } from "./support/postgres.js";
import { fromSeed, seededRandom } from "./support/random.js";

const meanings: [pattern: string, matches: string[], others: string[]][] = [
  ["/Active/**", ["/Active/a", "/Active/a/b.mov", "/Active/"], ["/Active", "/active/a", "/x/Active/a", "/Activer/a"]],
  ["/Active/*", ["/Active/a", "/Active/"], ["/Active/a/b", "/Active"]],
  ["/a/**/z", ["/a/z", "/a/b/z", "/a/b/c/z"], ["/az", "/a/bz", "/a/b/zz", "/a/z/"]],
  ["**/*.mov", ["/a/b.mov", "b.mov", "/.mov", "a/b/c.mov"], ["/a/b.MOV", "/a.mov/b", "/a/b.mov\n"]],
  ["**", ["", "/", "/a/b", "a\nb"], []],
  ["*", ["", "abc", "a\nb", "𝒳"], ["/", "a/b"]],
  ["?", ["a", "𝒳", "\n", "?"], ["", "ab", "/", "e\u0301"]],
  ["/a?c/*", ["/abc/d", "/a𝒳c/"], ["/a/c/d", "/ac/d"]],
  ["[ab].{c,d}", ["[ab].{c,d}"], ["a.c", "b.d", "[ab]x{c,d}"]],
  ["a\\*b", ["a\\xb", "a\\b"], ["a*b", "axb"]],
  ["^(a|b)+$", ["^(a|b)+$"], ["a", "ab"]],
  ["(?i)a", ["(?i)a", "(xi)a"], ["A", "a", "(/i)a"]],
  ["100%_", ["100%_"], ["100xx", "100%x"]],
  ["\\d.\\s", ["\\d.\\s"], ["1x "]],
  ["a-b", ["a-b"], ["a", "b"]],
  ["/**/**/a", ["/a", "/x/a", "/x/y/a"], ["a", "/xa"]],
];

/** As long and as wild as patterns may be, in the shapes that hurt matchers. */
const worst = [
  "*a".repeat(50),
  `${"/**/a".repeat(49)}/**`,
  "?".repeat(50),
  "*?".repeat(25),
  "**/".repeat(49),
  "/*".repeat(50),
  `*a${"?".repeat(48)}`,
  `${"x".repeat(499)}*`,
];

describe.each([["18", false] as const, ["14", missingPostgres14()] as const])("on PostgreSQL %s", (version, missing) => {
  describe.skipIf(missing)("glob()", () => {
    let started: RunningCluster | undefined;
    beforeAll(async () => {
      if (version === "14") started = await postgres14();
    });
    afterAll(() => started?.stop());
    const connected = <T>(work: (client: pg.Client) => Promise<T>) =>
      withClient((started?.cluster ?? inject("cluster")).superuserUrl, work);

    test.each(meanings)("%j", async (pattern, matches, others) => {
      const texts = [...matches, ...others];
      const wanted = texts.map((_, n) => n < matches.length);
      expect(texts.map((text) => cel(pattern, text))).toEqual(wanted);
      expect(await connected((client) => sql(client, pattern, texts))).toEqual(wanted);
    });

    test("random patterns and texts of few characters", async () => {
      const random = seededRandom();
      const some = (characters: string, most: number) =>
        Array.from({ length: random.between(0, most) }, () => random.pick([...characters])).join("");
      let matched = 0;
      await connected(async (client) => {
        for (let n = 0; n < 300; n++) {
          const components = Array.from({ length: random.between(1, 4) }, () =>
            random.next() < 0.3 ? "**" : some("ab*?.𝒳[", 3).replace(/\*+/g, "*"),
          );
          const pattern = components.join("/") || "*";
          const texts = Array.from({ length: 60 }, () => some("ab/a/.𝒳[\n", 8));
          const fromCel = texts.map((text) => cel(pattern, text));
          expect(await sql(client, pattern, texts), JSON.stringify({ pattern, texts })).toEqual(fromCel);
          matched += fromCel.filter(Boolean).length;
        }
      });
      expect(matched).toBeGreaterThan(500);
    });

    test("the worst patterns on the longest paths raise nothing, and end", async () => {
      const texts = ["a".repeat(4096), "/a".repeat(2048), `${"a".repeat(4095)}b`, "ab/".repeat(1365), "𝒳".repeat(1024)];
      await connected(async (client) => {
        await client.query("SET statement_timeout = '10s'");
        for (const pattern of worst) expect(await sql(client, pattern, texts), pattern).toEqual(texts.map((text) => cel(pattern, text)));
      });
    });
  });
});

const file = randomFile(fromSeed(1));

function cel(pattern: string, path: string): boolean {
  return evaluate(checkExpression(`glob(path, ${quoted(pattern)})`), { ...file, path }, nowUnix);
}

async function sql(client: pg.Client, pattern: string, texts: string[]): Promise<boolean[]> {
  const columns = Object.fromEntries(Object.keys(fileVariableTypes).map((name) => [name, "t.path"])) as unknown as Columns;
  const values: unknown[] = [texts];
  const predicate = toPredicate(
    checkExpression(`glob(path, ${quoted(pattern)})`),
    columns,
    { add: (value) => `$${values.push(value)}` },
    nowUnix,
  );
  const { rows } = await client.query(
    `SELECT ${predicate} AS matches FROM unnest($1::text[]) WITH ORDINALITY AS t(path, n) ORDER BY n`,
    values,
  );
  return rows.map((row) => row.matches);
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n")}"`;
}
