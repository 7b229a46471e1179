import { expect, test } from "vitest";
import { Turns } from "./turns.js";

const { signal } = new AbortController();

/** Turns of a process whose thread is as busy, and whose short calls wait, as `state` says. */
function turnsOf(state: { othersWait: boolean; isHigh: boolean }): Turns {
  return new Turns({ othersAreWaiting: (tenantId) => tenantId === "flood" && state.othersWait }, { isHigh: () => state.isHigh });
}

async function msOf(work: Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work;
  return performance.now() - startMs;
}

test("while others wait and the thread is busy a tenant steps back before each piece of work, and the others do not", async () => {
  const turns = turnsOf({ othersWait: true, isHigh: true });
  const ended: string[] = [];
  const begin = (tenantId: string) => turns.begin(tenantId, signal).finally(() => ended.push(tenantId));
  const flood = [begin("flood"), begin("flood")];
  const small = begin("small");
  expect(await msOf(Promise.all(flood))).toBeGreaterThan(190);
  expect(await Promise.all([small, ...flood])).toEqual([{ othersWait: false }, { othersWait: true }, { othersWait: true }]);
  expect(ended).toEqual(["small", "flood", "flood"]);
});

test("while they wait and the thread has time, its work begins in succession, not at once", async () => {
  const turns = turnsOf({ othersWait: true, isHigh: false });
  const times: number[] = [];
  await Promise.all(Array.from({ length: 4 }, () => turns.begin("flood", signal).then(() => times.push(performance.now()))));
  for (let n = 1; n < times.length; n++) expect((times[n] as number) - (times[n - 1] as number)).toBeGreaterThan(20);
});

test("it goes on as soon as nobody waits, however busy the thread is", async () => {
  const state = { othersWait: true, isHigh: true };
  const turns = turnsOf(state);
  const waits = turns.begin("flood", signal);
  state.othersWait = false;
  expect(await waits).toEqual({ othersWait: false });
  for (let n = 0; n < 100; n++) expect(await turns.begin("flood", signal)).toEqual({ othersWait: false });
});

test("what is merged steps back as well, and does not stand behind what is only read", async () => {
  const turns = turnsOf({ othersWait: true, isHigh: true });
  const ended: string[] = [];
  const read = Array.from({ length: 3 }, () => turns.begin("flood", signal).finally(() => ended.push("read")));
  const merged = [1, 2].map((no) => turns.beginMerge("flood").finally(() => ended.push(`merged ${no}`)));
  expect(await msOf(Promise.all(merged))).toBeGreaterThan(190);
  expect(ended.filter((what) => what === "read").length).toBeLessThan(3);
  expect(ended.filter((what) => what !== "read")).toEqual(["merged 1", "merged 2"]);
  await Promise.all(read);
});

test("who gives up before its turn is told why, and holds up nobody", async () => {
  const turns = turnsOf({ othersWait: true, isHigh: true });
  const gone = new AbortController();
  const first = turns.begin("flood", signal);
  const second = turns.begin("flood", gone.signal);
  const third = turns.begin("flood", signal);
  gone.abort(new Error("gone"));
  await expect(second).rejects.toThrow("gone");
  await Promise.all([first, third]);
});
