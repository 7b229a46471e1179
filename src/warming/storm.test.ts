import { expect, test } from "vitest";
import { addBusyMinutes, minuteMicros, minuteOf, minutesToCount, quietMicros, type Storm, stormAt } from "./storm.js";
import type { Touch } from "./touch.js";

const minute = (n: number) => BigInt(n) * minuteMicros;
const touchAt = (timeMicros: bigint): Touch => ({ tierId: 1n, timeMicros, user: "", host: "", eventId: "" });

/** As stored: `began` to `overUntil` are numbers of minutes. */
function stored(began: number, overUntil: number): Storm {
  return {
    position: 7n,
    beganMicros: minute(began),
    overUntilMicros: minute(overUntil),
    untilMicros: minute(overUntil) + quietMicros,
    files: 9n,
    accesses: 3n,
  };
}

test("minutes begin on the minute, before 1970 too", () => {
  expect([0n, 1n, minuteMicros - 1n, minuteMicros, -1n, -minuteMicros, -minuteMicros - 1n].map(minuteOf)).toEqual(
    [0, 0, 0, 1, -1, -1, -2].map(minute),
  );
});

test("only minutes that a storm does not have yet are counted", () => {
  const touches = [9, 10, 11, 12, 13].map((n) => touchAt(minute(n) + 5n));
  expect(minutesToCount([stored(10, 12)], touches)).toEqual([9, 12, 13].map(minute));
});

test("a busy minute begins a storm, and later ones in its time make it longer", () => {
  const busy = [10, 11, 16, 22].map((n) => ({ beginsMicros: minute(n), files: BigInt(n) }));
  const storms = addBusyMinutes([], busy);
  // Minute 16 lies in the quiet time after minute 11, which ends with minute 16; minute 22 comes just as the next one is over.
  expect(storms.map(({ beganMicros, untilMicros, files }) => [beganMicros / minuteMicros, untilMicros / minuteMicros, files])).toEqual([
    [10n, 22n, 10n],
    [22n, 28n, 22n],
  ]);
});

test("a stored storm grows in a copy, keeps what it is known by, and never shrinks", () => {
  const known = [stored(10, 14)];
  const [grown, ...others] = addBusyMinutes(known, [
    { beginsMicros: minute(12), files: 50n },
    { beginsMicros: minute(15), files: 60n },
  ]);
  expect(others).toEqual([]);
  expect(grown).toEqual({ ...stored(10, 16), accesses: 3n });
  expect(known).toEqual([stored(10, 14)]);
});

test("a storm of a clock that is far ahead ends with the year 9999", () => {
  const beginsMicros = BigInt(Date.UTC(9999, 11, 31, 23, 58)) * 1000n;
  const [storm] = addBusyMinutes([], [{ beginsMicros, files: 2n }]);
  expect(new Date(Number((storm as Storm).untilMicros / 1000n)).toISOString()).toBe("9999-12-31T23:59:59.999Z");
});

test("a storm is on from its first moment to its last", () => {
  const storm = stored(10, 11);
  expect(
    [storm.beganMicros - 1n, storm.beganMicros, storm.untilMicros - 1n, storm.untilMicros].map((at) => stormAt([storm], at) === storm),
  ).toEqual([false, true, true, false]);
});
