/** The SQL predicate of a random expression and the CEL library's evaluator agree on random files, and the SQL never raises. */
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { checkExpression, type Expression, ExpressionError, evaluate, type FileValues } from "../src/planner/cel/index.js";
import { expectAgreement, matchConstants } from "./support/cel-compare.js";
import { mutate } from "./support/cel-damage.js";
import { generateExpression } from "./support/cel-expressions.js";
import { nowUnix, randomFile, storeFiles } from "./support/cel-values.js";
import type { RunningCluster } from "./support/cluster.js";
import { missingPostgres14, postgres14, withClient } from "./support/postgres.js";
import { type Random, seededRandom } from "./support/random.js";

const expressions = Number(process.env.FROSTLINE_TEST_EXPRESSIONS ?? 500);
const filesEach = 200;
const expressionsPerStatement = 50;

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

    const withFiles = (random: Random, work: (client: pg.Client, files: FileValues[]) => Promise<void>) =>
      withClient((started?.cluster ?? inject("cluster")).superuserUrl, async (client) => {
        const files = Array.from({ length: filesEach }, () => randomFile(random));
        await storeFiles(client, files);
        await work(client, files);
      });

    test(`${count} well-typed ones, ${filesEach} files`, { timeout: 600_000 }, async () => {
      const random = seededRandom();
      let decisive = 0;
      const tally = { refused: 0 };
      await withFiles(random, async (client, files) => {
        for (let done = 0; done < count; done += expressionsPerStatement) {
          const batch = Array.from({ length: Math.min(expressionsPerStatement, count - done) }, () => wellTyped(random, files, tally));
          decisive += await expectAgreement(client, batch, files);
          // The planner folds constants, and would raise what the rows never do.
          const file = random.pick(files);
          expect(await matchConstants(client, batch, file)).toEqual(batch.map((expression) => evaluate(expression, file, nowUnix)));
        }
      });
      // A generator that says yes or no to every file would prove nothing, nor would a checker that refuses what is fine.
      expect(decisive).toBeGreaterThan(count * 0.4);
      expect(tally.refused).toBeLessThan(count * 0.06 + 5);
    });

    test(`${4 * count} damaged ones are refused, or agree`, { timeout: 600_000 }, async () => {
      const random = seededRandom();
      await withFiles(random, async (client, files) => {
        let accepted = 0;
        for (let done = 0; done < 4 * count; done += expressionsPerStatement) {
          const sources = Array.from({ length: expressionsPerStatement }, () => mutate(random, generateExpression({ random, files })));
          const batch = sources.map(checked).filter((expression) => expression !== undefined);
          accepted += batch.length;
          if (batch.length > 0) await expectAgreement(client, batch, files);
        }
        expect(accepted).toBeGreaterThan(4 * count * 0.02);
        expect(accepted).toBeLessThan(4 * count * 0.9);
      });
    });
  });
});

/** Constants that come to something out of range, and patterns of two long names, are refused when the rule is read; a few are drawn. */
function wellTyped(random: Random, files: FileValues[], tally: { refused: number }): Expression {
  for (;;) {
    const source = generateExpression({ random, files });
    try {
      return checkExpression(source);
    } catch (error) {
      if (!(error instanceof ExpressionError && /^(this comes to|the pattern has)/.test(error.reason)))
        throw new Error(`refused: ${source}`, { cause: error });
      tally.refused += 1;
    }
  }
}

/** Undefined if it is refused. Any other error is a fault of the checker. */
function checked(source: string): Expression | undefined {
  try {
    return checkExpression(source);
  } catch (error) {
    if (error instanceof ExpressionError) return undefined;
    throw new Error(`neither refused nor taken: ${JSON.stringify(source)}`, { cause: error });
  }
}
