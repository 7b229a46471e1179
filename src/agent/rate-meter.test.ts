import { expect, test } from "vitest";
import { createRateMeter } from "./rate-meter.js";

test("the rate is that of the last ten seconds", () => {
  let nowMs = 1000;
  const meter = createRateMeter(() => nowMs);
  expect(meter.perSecond()).toBe(0);
  for (let second = 0; second < 20; second++) {
    meter.add(50);
    nowMs += 500;
    meter.add(50);
    nowMs += 500;
  }
  expect(meter.perSecond()).toBeGreaterThan(90);
  expect(meter.perSecond()).toBeLessThanOrEqual(100);
  nowMs += 5000;
  expect(meter.perSecond()).toBeLessThanOrEqual(50);
  nowMs += 5000;
  expect(meter.perSecond()).toBe(0);
});

test("at first over the time since it was made", () => {
  let nowMs = 0;
  const meter = createRateMeter(() => nowMs);
  meter.add(10);
  nowMs = 2000;
  expect(meter.perSecond()).toBe(5);
});
