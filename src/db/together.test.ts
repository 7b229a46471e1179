import pg from "pg";
import { expect, test } from "vitest";
import { together } from "./together.js";

function databaseError(code: string): pg.DatabaseError {
  return Object.assign(new pg.DatabaseError(code, 0, "error"), { code });
}

/** Rejects only after so many turns of waiting for others, as a statement does that is awaited at some depth. */
async function failing(error: Error, depth: number): Promise<never> {
  for (let left = depth; left > 0; left -= 1) await Promise.resolve();
  throw error;
}

test("what those behind the failed statement say is not what is told, however soon they say it", async () => {
  const cause = databaseError("53100");
  const behind = () => failing(databaseError("25P02"), 0);
  await expect(together([Promise.resolve(), failing(cause, 10), behind(), behind()])).rejects.toBe(cause);
  await expect(together([behind(), together([failing(cause, 10), behind()])])).rejects.toBe(cause);
});

test("an error of another kind is told at once, and a transaction that had failed before is said to have", async () => {
  const cause = new Error("the connection broke");
  await expect(together([new Promise(() => {}), failing(cause, 3)])).rejects.toBe(cause);
  const before = databaseError("25P02");
  await expect(together([failing(before, 0), Promise.resolve(1)])).rejects.toBe(before);
});

test("results come in the order of the statements", async () => {
  expect(await together([Promise.resolve(1), "two"])).toEqual([1, "two"]);
});
