/** The faults of a round hang on its seed alone, and each kind has its turn. */
import { expect, test } from "vitest";
import { fromSeed } from "../support/random.js";
import { faultKinds, planFaults } from "./plan.js";

const durationMs = 60_000;

test("the same seed is the same faults at the same times, another one is others", () => {
  const plan = (seed: number) => planFaults(fromSeed(seed), durationMs, 1000, faultKinds);
  expect(plan(1)).toEqual(plan(1));
  expect(plan(2)).not.toEqual(plan(1));
});

test("every kind comes once before one comes again, and all are over in time", () => {
  const plan = planFaults(fromSeed(3), durationMs, 1000, faultKinds);
  for (let at = 0; at + faultKinds.length <= plan.length; at += faultKinds.length) {
    const turn = plan.slice(at, at + faultKinds.length).map(({ kind }) => kind);
    expect(turn.toSorted()).toEqual([...faultKinds].sort());
  }
  expect(plan.length).toBeGreaterThan(faultKinds.length);
  for (const { atMs, forMs } of plan) expect(atMs + forMs).toBeLessThanOrEqual(durationMs);
});
