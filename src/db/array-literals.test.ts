import { expect, inject, test } from "vitest";
import { withClient } from "../../test/support/postgres.js";
import { plainArray, textArray } from "./array-literals.js";

test("arrive as they were", async () => {
  const texts = ["", "NULL", "null", "a,b", "{}", '"', "\\", '\\"', " blank ", "new\nline", "东京 🎬", "'"];
  const bigints = [0n, -1n, 9_223_372_036_854_775_807n, null];
  const { rows } = await withClient(inject("cluster").superuserUrl, (client) =>
    client.query(
      "SELECT $1::text[] AS texts, $2::bigint[] AS bigints, $3::boolean[] AS booleans, $4::text[] AS none, $5::bigint[] AS nothing",
      [textArray(texts), plainArray(bigints), plainArray([true, false, undefined]), textArray([]), plainArray([])],
    ),
  );
  expect(rows).toEqual([
    { texts, bigints: bigints.map((value) => value?.toString() ?? null), booleans: [true, false, null], none: [], nothing: [] },
  ]);
});
