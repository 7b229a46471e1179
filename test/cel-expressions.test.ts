/** Must agree: the SQL predicate of a random well-typed expression and the CEL library's evaluator, on random files; and the SQL never raises. */
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import {
  type Columns,
  checkExpression,
  type Expression,
  ExpressionError,
  evaluate,
  type FileValues,
  toPredicate,
} from "../src/planner/cel/index.js";
import { fileVariableTypes } from "../src/planner/cel/language.js";
import { generateExpression } from "./support/cel-expressions.js";
import { nowUnix, randomFile, storeFiles } from "./support/cel-values.js";
import type { RunningCluster } from "./support/cluster.js";
import { missingPostgres14, postgres14, withClient } from "./support/postgres.js";
import { type Random, seededRandom } from "./support/random.js";

const expressions = Number(process.env.FROSTLINE_TEST_EXPRESSIONS ?? 500);
const filesEach = 200;
const expressionsPerStatement = 50;

const columns = Object.fromEntries(Object.keys(fileVariableTypes).map((name) => [name, `f.${name}`])) as unknown as Columns;

describe.each([
  ["18", false, expressions],
  ["14", missingPostgres14(), Math.ceil(expressions / 5)],
] as const)("on PostgreSQL %s", (version, missing, count) => {
  describe.skipIf(missing)("random expressions", () => {
    let started: RunningCluster | undefined;
    beforeAll(async () => {
      if (version === "14") started = await postgres14();
    });
    afterAll(() => started?.stop());

    test(`${count} expressions, ${filesEach} files`, { timeout: 600_000 }, async () => {
      const random = seededRandom();
      const files = Array.from({ length: filesEach }, () => randomFile(random));
      const tally = { compared: 0, both: 0, refused: 0 };
      await withClient((started?.cluster ?? inject("cluster")).superuserUrl, async (client) => {
        await storeFiles(client, files);
        while (tally.compared < count) {
          const batch = Array.from({ length: Math.min(expressionsPerStatement, count - tally.compared) }, () =>
            wellTyped(random, files, tally),
          );
          const answers = await matchAll(client, batch);
          for (const [n, expression] of batch.entries())
            compare(
              expression,
              files,
              answers.map((row) => row[n]),
              tally,
            );
        }
      });
      // A generator that says yes or no to every file would prove nothing, nor would a checker that refuses what is fine.
      expect(tally.both).toBeGreaterThan(count * 0.4);
      expect(tally.refused).toBeLessThan(count * 0.05);
    });
  });
});

/** Constants that come to something out of range are refused when the rule is read; a few are drawn. */
function wellTyped(random: Random, files: FileValues[], tally: { refused: number }): Expression {
  for (;;) {
    const source = generateExpression({ random, files });
    try {
      return checkExpression(source);
    } catch (error) {
      if (!(error instanceof ExpressionError) || !error.reason.startsWith("this comes to"))
        throw new Error(`refused: ${source}`, { cause: error });
      tally.refused += 1;
    }
  }
}

/** For each file, what SQL says of each expression. */
async function matchAll(client: pg.Client, batch: Expression[]): Promise<unknown[][]> {
  try {
    return await select(client, batch);
  } catch (error) {
    for (const expression of batch)
      await select(client, [expression]).catch((cause) => {
        throw new Error(`SQL raised on ${expression.source}\n${predicate(expression, []) ?? ""}`, { cause });
      });
    throw error;
  }
}

async function select(client: pg.Client, batch: Expression[]): Promise<unknown[][]> {
  const values: unknown[] = [];
  const { rows } = await client.query({
    text: `SELECT ${batch.map((expression) => predicate(expression, values)).join(",\n")} FROM f ORDER BY row_no`,
    values,
    rowMode: "array",
  });
  return rows;
}

function predicate(expression: Expression, values: unknown[]): string {
  return toPredicate(expression, columns, { add: (value) => `$${values.push(value)}` }, nowUnix);
}

function compare(expression: Expression, files: FileValues[], fromSql: unknown[], tally: { compared: number; both: number }): void {
  const fromCel = files.map((file) => evaluate(expression, file, nowUnix));
  const differs = files.findIndex((_, n) => fromSql[n] !== fromCel[n]);
  if (differs >= 0) {
    const sql = predicate(expression, []);
    expect.fail(
      `${expression.source}\n${sql}\nSQL says ${fromSql[differs]}, CEL ${fromCel[differs]} of ${inspect(files[differs] as FileValues)}`,
    );
  }
  tally.compared += 1;
  if (fromCel.includes(true) && fromCel.includes(false)) tally.both += 1;
}

function inspect(file: FileValues): string {
  return JSON.stringify(file, (_, value) => (typeof value === "bigint" ? value.toString() : value));
}
