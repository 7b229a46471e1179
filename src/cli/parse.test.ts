import { InvalidArgumentError } from "commander";
import { expect, test } from "vitest";
import { collect, parseScanId, parseSeconds, parseSize, parseTime, parseWhole } from "./parse.js";

test("sizes: binary units unless they say B alone", () => {
  expect(["0", "4096", "4096B", "10k", "10KiB", "10KB", "1.5MiB", "2 gib", "8191PiB"].map(parseSize)).toEqual([
    0n,
    4096n,
    4096n,
    10_240n,
    10_240n,
    10_000n,
    1_572_864n,
    2_147_483_648n,
    8191n * 1024n ** 5n,
  ]);
  for (const bad of ["", "-1", "1e3", "10XB", "MiB", "8EiB", "0x10", "1.5.5k"])
    expect(() => parseSize(bad), bad).toThrow(InvalidArgumentError);
});

test("times: dates are UTC, ages count back from now", () => {
  const nowMs = Date.parse("2026-06-30T12:00:00Z");
  expect(parseTime("2026-01-31", nowMs)).toBe(1_769_817_600n);
  expect(parseTime("2026-01-31T12:00", nowMs)).toBe(1_769_860_800n);
  expect(parseTime("2026-01-31T12:00:00+02:00", nowMs)).toBe(1_769_853_600n);
  expect(parseTime("1969-12-31T23:59:59.5Z", nowMs)).toBe(-1n);
  expect(parseTime("180d", nowMs)).toBe(BigInt(nowMs / 1000 - 180 * 86_400));
  for (const bad of ["", "yesterday", "2026-13-01", "2026", "12", "5 d", "-5d"])
    expect(() => parseTime(bad, nowMs), bad).toThrow(InvalidArgumentError);
});

test("scan numbers, whole numbers, repeated options", () => {
  expect(parseScanId("9223372036854775807")).toBe(9_223_372_036_854_775_807n);
  for (const bad of ["0", "-1", "1.5", "x", "9223372036854775808"]) expect(() => parseScanId(bad), bad).toThrow(InvalidArgumentError);
  expect(parseWhole(1)("10")).toBe(10);
  for (const bad of ["0", "1.5", "-1", "1e3", ""]) expect(() => parseWhole(1)(bad), bad).toThrow(InvalidArgumentError);
  expect(collect("b", collect("a"))).toEqual(["a", "b"]);
});

test("seconds, within bounds, are milliseconds", () => {
  expect(["1", "0.1", "0.25", "3600"].map(parseSeconds)).toEqual([1000, 100, 250, 3_600_000]);
  for (const bad of ["", "0", "0.09", "3601", "-1", "1e3", "1s", "Infinity"])
    expect(() => parseSeconds(bad), bad).toThrow(InvalidArgumentError);
});
