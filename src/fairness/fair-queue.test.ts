import { expect, test } from "vitest";
import { seededRandom } from "../../test/support/random.js";
import { FairQueue } from "./fair-queue.js";

/** Lets promises that are settled be heard. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** Asks for a place; `log` gets the name when it has it, `back` gives one back. */
function asker(queue: FairQueue) {
  const log: string[] = [];
  const held = new Map<string, (() => void)[]>();
  return {
    log,
    ask: (name: string) =>
      void queue.take(name).then((giveBack) => {
        log.push(name);
        held.set(name, [...(held.get(name) ?? []), giveBack]);
      }),
    back: (name: string) => held.get(name)?.shift()?.(),
  };
}

test("alone a group has all places, and the others come before its next", async () => {
  const queue = new FairQueue({ places: 3 });
  const { log, ask, back } = asker(queue);
  for (let n = 0; n < 6; n++) ask("flood");
  await settled();
  expect(log).toEqual(["flood", "flood", "flood"]);
  ask("b");
  ask("b");
  ask("c");
  expect(queue.waiting).toBe(6);
  for (let n = 0; n < 3; n++) back("flood");
  await settled();
  expect(log.slice(3)).toEqual(["b", "c", "flood"]);
  back("c");
  await settled();
  // c holds none but does not ask; flood and b hold one each, and b was served longer ago.
  expect(log.slice(6)).toEqual(["b"]);
});

test("what is left to others is not lent to one group", async () => {
  const { log, ask, back } = asker(new FairQueue({ places: 4, groupAtMost: 3 }));
  for (let n = 0; n < 5; n++) ask("flood");
  ask("b");
  await settled();
  expect(log).toEqual(["flood", "flood", "flood", "b"]);
  back("b");
  await settled();
  expect(log.length).toBe(4);
  back("flood");
  await settled();
  expect(log.length).toBe(5);
});

test("who gives up waiting is not served, and loses nobody a place", async () => {
  const queue = new FairQueue({ places: 1 });
  const giveBack = await queue.take("a");
  expect(queue.tryTake("a")).toBeUndefined();
  const stop = new AbortController();
  const gaveUp = queue.take("b", stop.signal);
  const waits = queue.take("c");
  stop.abort(new Error("no more"));
  await expect(gaveUp).rejects.toThrow("no more");
  await expect(queue.take("b", stop.signal)).rejects.toThrow("no more");
  giveBack();
  (await waits)();
  expect(queue.waiting).toBe(0);
  expect(queue.tryTake("a")).toBeDefined();
});

test("whatever is asked and given back, places are neither lost nor lent twice, and order within a group is kept", async () => {
  const random = seededRandom();
  const places = random.between(1, 4);
  const queue = new FairQueue({ places, groupAtMost: random.between(1, places) });
  const held: { name: string; giveBack: () => void }[] = [];
  const asked = new Map<string, number>();
  const served = new Map<string, number>();
  for (let step = 0; step < 3000; step++) {
    if (held.length > 0 && random.between(0, 1) === 0) held.splice(random.between(0, held.length - 1), 1)[0]?.giveBack();
    else {
      const name = `group ${random.between(1, 5)}`;
      const number = asked.get(name) ?? 0;
      asked.set(name, number + 1);
      void queue.take(name).then((giveBack) => {
        expect(served.get(name) ?? 0).toBe(number);
        served.set(name, number + 1);
        held.push({ name, giveBack });
      });
    }
    await settled();
    expect(held.length).toBeLessThanOrEqual(places);
  }
  while (held.length > 0) {
    held.pop()?.giveBack();
    await settled();
  }
  expect(served).toEqual(asked);
  expect(queue.waiting).toBe(0);
});
