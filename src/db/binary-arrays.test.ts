/** What is sent is what PostgreSQL has. */
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/support/postgres.js";
import { bigintArray, booleanArray, integerArray, textArray } from "./binary-arrays.js";
import { createPools, type Pools } from "./pool.js";

let database: TestDatabase;
let pools: Pools;
beforeAll(async () => {
  database = await createTestDatabase();
  pools = createPools(database.runtimeUrl, { queryPoolMax: 1, ingestPoolMax: 1, onIdleError: () => {} });
});
afterAll(async () => {
  await pools?.end();
  await database?.drop();
});

/** The elements, as PostgreSQL gives them back. */
async function sent(type: string, array: Buffer): Promise<unknown[]> {
  const { rows } = await pools.query.query(`SELECT v FROM unnest($1::${type}[]) WITH ORDINALITY AS e (v, n) ORDER BY n`, [array]);
  return rows.map(({ v }) => v ?? undefined);
}

const bigint = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
/** No text of PostgreSQL has NUL. */
const text = fc.string({ unit: "grapheme", maxLength: 30 }).map((made) => made.replaceAll("\0", ""));

test("bigints, with gaps", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.option(bigint, { nil: undefined })), async (values) => {
      expect(await sent("bigint", bigintArray(values))).toEqual(values);
    }),
  );
});

test("texts", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(text), async (values) => {
      expect(await sent("text", textArray(values))).toEqual(values);
    }),
  );
});

test("integers and booleans", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer()), fc.array(fc.boolean()), async (integers, booleans) => {
      expect(await sent("integer", integerArray(integers))).toEqual(integers);
      expect(await sent("boolean", booleanArray(booleans))).toEqual(booleans);
    }),
  );
});

test("a lone surrogate goes as what stands for it in UTF-8", async () => {
  expect(await sent("text", textArray(["a\uD800b", "c"]))).toEqual(["a\uFFFDb", "c"]);
});
