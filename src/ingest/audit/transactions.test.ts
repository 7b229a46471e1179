import { expect, test } from "vitest";
import { Failure } from "../failure.js";
import { newCounts } from "./counts.js";
import type { BatchInBytes } from "./events.js";
import { Transactions } from "./transactions.js";

function batchOf(events: number): BatchInBytes {
  return { events, bytes: events, read: () => Promise.reject(new Error("is not read here")) };
}

/** How many events each transaction takes of `batches` of 500, when each event takes `msPerEvent`. */
async function sizes(msPerEvent: (transaction: number) => number, batches: number): Promise<number[]> {
  const taken: number[] = [];
  const transactions = new Transactions(async (some) => {
    const events = some.reduce((sum, batch) => sum + batch.events, 0);
    taken.push(events);
    // Long enough for all that may gather meanwhile.
    await new Promise((resolve) => setImmediate(resolve));
    return { counts: { ...newCounts(), applied: events }, durationMs: events * msPerEvent(taken.length) };
  }, new Failure());
  for (let n = 0; n < batches; n++) await transactions.add(batchOf(500));
  await transactions.finish();
  expect(transactions.counts.applied).toBe(batches * 500);
  return taken;
}

test("what is slow goes in small transactions, down to one batch, and in large ones again once it is fast", async () => {
  const slowFirst = await sizes((transaction) => (transaction <= 6 ? 100 : 0.01), 400);
  expect(slowFirst.slice(2, 6)).toEqual([500, 500, 500, 500]);
  expect(Math.max(...slowFirst.slice(6))).toBe(5_000);
});

test("what takes about as long as it may keeps its size", async () => {
  const taken = await sizes(() => 0.6, 400);
  expect(new Set(taken.slice(1, -1))).toEqual(new Set([5_000]));
});

test("after a failure nothing more is begun", async () => {
  const failure = new Failure();
  let commits = 0;
  const transactions = new Transactions(async () => {
    commits += 1;
    throw new Error("no space left");
  }, failure);
  await transactions.add(batchOf(10));
  await expect(transactions.finish()).rejects.toThrow("no space left");
  await expect(transactions.add(batchOf(30_000))).rejects.toThrow("no space left");
  await transactions.stop();
  expect(commits).toBe(1);
});
