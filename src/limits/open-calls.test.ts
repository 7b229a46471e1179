import { expect, test, vi } from "vitest";
import { seededRandom } from "../../test/support/random.js";
import { type CallKind, OpenCalls, type Place } from "./open-calls.js";

const limits = { stream: { ofGroup: 3, inTotal: 7 }, unary: { ofGroup: 2, inTotal: 5 } };

test("a place comes free when all who hold it have let go", () => {
  const calls = new OpenCalls({ ...limits, unary: { ofGroup: 1, inTotal: 1 } });
  const place = calls.take("unary", "a");
  place.hold();
  place.letGo();
  expect(() => calls.take("unary", "b")).toThrow("This server has 1 unary calls open");
  place.letGo();
  calls.take("unary", "b");
});

test("whatever is taken and given back, no group and no kind has more than its limit, and nobody is refused below it", () => {
  const random = seededRandom();
  const calls = new OpenCalls(limits);
  const held: { kind: CallKind; group: string; place: Place }[] = [];
  for (let step = 0; step < 3000; step++) {
    if (held.length > 0 && random.between(0, 2) === 0) {
      held.splice(random.between(0, held.length - 1), 1)[0]?.place.letGo();
      continue;
    }
    const kind: CallKind = random.between(0, 1) === 0 ? "stream" : "unary";
    const group = `group ${random.between(1, 4)}`;
    const ofKind = held.filter((other) => other.kind === kind);
    const { ofGroup, inTotal } = limits[kind];
    const full = ofKind.length >= inTotal || ofKind.filter((other) => other.group === group).length >= ofGroup;
    if (full) expect(() => calls.take(kind, group)).toThrow(/may have no more/);
    else held.push({ kind, group, place: calls.take(kind, group) });
  }
});

test("only young unary calls of tenants that have fewer calls open count as waiting, and those that ended just now", () => {
  vi.useFakeTimers();
  try {
    const calls = new OpenCalls(limits);
    calls.take("stream", "a");
    const own = calls.take("unary", "b");
    // c has none, a and b have one each.
    expect(["a", "b", "c"].map((group) => calls.othersAreWaiting(group))).toEqual([false, false, false]);
    own.letGo();
    // Just now it was one.
    expect(calls.othersAreWaiting("a")).toBe(false);
    calls.take("stream", "a");
    expect(calls.othersAreWaiting("a")).toBe(true);
    vi.advanceTimersByTime(100);
    expect(calls.othersAreWaiting("a")).toBe(false);
    calls.take("unary", "b");
    expect(["a", "b"].map((group) => calls.othersAreWaiting(group))).toEqual([true, false]);
    vi.advanceTimersByTime(1100);
    expect(calls.othersAreWaiting("a")).toBe(false);
    calls.take("unary", "address of somebody", false);
    expect(calls.othersAreWaiting("a")).toBe(false);
  } finally {
    vi.useRealTimers();
  }
});
