import { setImmediate as nextTurn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { Failure } from "./failure.js";

test("what has settled counts until the failure does", async () => {
  const failure = new Failure();
  expect(await failure.unlessFailed(Promise.resolve(1))).toBe(1);
  await expect(failure.unlessFailed(Promise.reject(new Error("own")))).rejects.toThrow("own");
  const waiting = [new Promise(() => {}), new Promise(() => {})].map((promise) => failure.unlessFailed(promise));
  failure.fail(new Error("first"));
  failure.fail(new Error("second"));
  for (const promise of waiting) await expect(promise).rejects.toThrow("first");
  await expect(failure.unlessFailed(Promise.resolve(1))).rejects.toThrow("first");
  await expect(failure.unlessFailed(Promise.reject(new Error("unheard")))).rejects.toThrow("first");
});

test("outcomes are not kept", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const failure = new Failure();
  const passThrough = async () => {
    const outcome = { large: true };
    await failure.unlessFailed(Promise.resolve(outcome));
    return new WeakRef(outcome);
  };
  const kept = await passThrough();
  while (kept.deref() !== undefined) {
    // A reference that was looked at is held until the turn ends.
    await nextTurn();
    collect();
  }
  await expect(failure.unlessFailed(Promise.resolve("still here"))).resolves.toBe("still here");
});
