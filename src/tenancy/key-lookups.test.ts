import { randomBytes } from "node:crypto";
import type { Pool } from "pg";
import { expect, test } from "vitest";
import { KeyLookups } from "./key-lookups.js";

const secret = () => `fl_${randomBytes(32).toString("base64url")}`;

/** A database that answers when it is told to, with the number of the question as the key's id. */
function database() {
  const answers: (() => void)[] = [];
  const pool = {
    query: () => {
      const callerId = String(answers.length);
      return new Promise((resolve) => {
        answers.push(() => resolve({ rows: [{ tenant_id: "t", key_id: callerId, scopes: [], is_platform: false }] }));
      });
    },
  };
  return { pool: pool as unknown as Pool, answers };
}

/** Lets promises that are settled be heard. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("two look-ups of a key run at once; calls that come meanwhile share the next, which begins after they came", async () => {
  const { pool, answers } = database();
  const lookups = new KeyLookups(pool);
  const key = secret();
  const first = [lookups.find(key, true), lookups.find(key, true)];
  await settled();
  const others = Array.from({ length: 50 }, () => lookups.find(key, true));
  await settled();
  expect(answers).toHaveLength(2);
  answers[1]?.();
  expect((await first[1])?.callerId).toBe("1");
  await settled();
  expect(answers).toHaveLength(3);
  // The shared one has begun before this call came.
  const late = lookups.find(key, true);
  answers[2]?.();
  expect(new Set((await Promise.all(others)).map((caller) => caller?.callerId))).toEqual(new Set(["2"]));
  await settled();
  expect(answers).toHaveLength(4);
  answers[0]?.();
  answers[3]?.();
  expect([(await first[0])?.callerId, (await late)?.callerId]).toEqual(["0", "3"]);
  await settled();
  // Nothing is kept.
  void lookups.find(key, true);
  void lookups.find(key, true);
  await settled();
  expect(answers).toHaveLength(6);
});

test("a key that was good is looked up at once, however many are guessed", async () => {
  const { pool, answers } = database();
  const lookups = new KeyLookups(pool);
  for (let n = 0; n < 100; n++) void lookups.find(secret(), false);
  await settled();
  const guesses = answers.length;
  const good = lookups.find(secret(), true);
  await settled();
  expect(answers).toHaveLength(guesses + 1);
  answers[guesses]?.();
  expect((await good)?.callerId).toBe(String(guesses));
});
