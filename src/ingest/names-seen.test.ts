import { expect, test } from "vitest";
import { hashByte, hashStart, NamesSeen } from "./names-seen.js";

const hashOf = (name: string) => Buffer.from(name).reduce(hashByte, hashStart);

test("a name that comes again is told, within a listing", () => {
  const seen = new NamesSeen();
  for (let listing = 0; listing < 3; listing++) {
    seen.begin();
    for (let n = 0; n < 1000; n++) expect(seen.add(hashOf(`file ${n}`)), `file ${n}`).toBe(false);
    for (let n = 0; n < 1000; n++) expect(seen.add(hashOf(`file ${n}`)), `file ${n}`).toBe(true);
  }
});

test("two names with the same hash cannot be told from one that comes twice; hashes that share a slot can", () => {
  const seen = new NamesSeen();
  seen.begin();
  expect(hashOf("costarring")).toBe(hashOf("liquid"));
  expect([seen.add(hashOf("costarring")), seen.add(hashOf("liquid"))]).toEqual([false, true]);
  expect([seen.add(7), seen.add(7 + 65_536), seen.add(7 + 65_536)]).toEqual([false, false, true]);
});

test("hashes that were chosen to share a slot are not looked through one by one", () => {
  const seen = new NamesSeen();
  seen.begin();
  const told = Array.from({ length: 100 }, (_, n) => seen.add(7 + n * 65_536));
  expect(told.indexOf(true)).toBe(32);
  expect(told.lastIndexOf(false)).toBe(31);
});

test("of more names than it can hold it says that any may come twice", () => {
  const seen = new NamesSeen();
  seen.begin();
  const told = Array.from({ length: 20_001 }, (_, n) => seen.add(n));
  expect(told.indexOf(true)).toBe(20_000);
  seen.begin();
  expect(seen.add(1)).toBe(false);
});
