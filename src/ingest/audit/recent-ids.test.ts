import { expect, test } from "vitest";
import { seededRandom } from "../../../test/support/random.js";
import { RecentIds } from "./recent-ids.js";

test("what is asked for again and again stays, what is not is forgotten, and no more than twice the most is held", () => {
  const random = seededRandom();
  const recent = new RecentIds(20);
  const lastAsked = new Map<number, number>();
  for (let step = 0; step < 5000; step += 1) {
    const ids = recent.of(1n);
    expect(ids.size).toBeLessThanOrEqual(22);
    for (const n of [0, random.between(1, 200)]) {
      const held = recent.has(ids, 1n, `/${n}`);
      // At most two new paths a step: within ten steps none has gone.
      const age = step - (lastAsked.get(n) ?? Number.NEGATIVE_INFINITY);
      if (age <= 10) expect(held).toBe(true);
      if (held) expect(ids.get(`/${n}`)).toBe(BigInt(n));
      else recent.add(ids, `/${n}`, BigInt(n));
      lastAsked.set(n, step);
    }
  }
  const kept = recent.of(1n);
  expect(Array.from({ length: 201 }, (_, n) => n).filter((n) => recent.has(kept, 1n, `/${n}`)).length).toBeLessThanOrEqual(44);
});

test("what one share's path is says nothing of another's", () => {
  const recent = new RecentIds(20);
  recent.add(recent.of(1n), "/a", 7n);
  expect(recent.has(recent.of(2n), 2n, "/a")).toBe(false);
  expect(recent.of(1n).get("/a")).toBe(7n);
});

test("what a caller holds stays as it is when others come", () => {
  const recent = new RecentIds(2);
  const held = recent.of(1n);
  recent.add(held, "/a", 1n);
  for (let n = 0; n < 20; n += 1) recent.add(recent.of(2n), `/${n}`, 2n);
  expect(held.get("/a")).toBe(1n);
});
