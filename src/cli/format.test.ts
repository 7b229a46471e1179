import fc from "fast-check";
import { expect, test } from "vitest";
import { bytes, duration, escaped, isoTime, safeJson, table } from "./format.js";

test("nothing that drives a terminal passes", () => {
  expect(escaped("a\x1b[31mb\n\t\r\x07\x9b2J\x7f")).toBe("a\\x1b[31mb\\n\\t\\x0d\\x07\\x9b2J\\x7f");
  expect(escaped("x\u202egnp.exe")).toBe("x\\u{202e}gnp.exe");
  expect(escaped("Élan — 東京 😀\\")).toBe("Élan — 東京 😀\\");
});

test("JSON made safe is the same value, without controls", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const json = safeJson(JSON.stringify({ [text]: text }));
      expect(JSON.parse(json)).toEqual({ [text]: text });
      expect(json).not.toMatch(/[\p{Cc}\u202e]/u);
    }),
  );
  expect(safeJson(JSON.stringify("\x9b2J\u202e"))).toBe('"\\u009b2J\\u202e"');
});

test("sizes", () => {
  expect([undefined, 0n, 1023n, 1024n, 1_048_575n, 1_048_576n, 2n ** 63n - 1n].map(bytes)).toEqual([
    "-",
    "0 B",
    "1023 B",
    "1.0 KiB",
    "1.0 MiB",
    "1.0 MiB",
    "8.0 EiB",
  ]);
});

test("times reach from the year 1 to 9999", () => {
  expect(isoTime(undefined)).toBe("-");
  expect(isoTime(-1n)).toBe("1969-12-31T23:59:59Z");
  expect(isoTime(-62_135_596_800n)).toBe("0001-01-01T00:00:00Z");
  expect(isoTime(253_402_300_799n)).toBe("9999-12-31T23:59:59Z");
  expect([duration(1250), duration(59_999), duration(185_000)]).toEqual(["1.3 s", "60.0 s", "3 min 5 s"]);
});

test("a table is aligned and escaped, without blanks at the ends of lines", () => {
  const lines = table(
    [{ title: "N", align: "right" }, { title: "NAME" }, { title: "LAST" }],
    [
      ["1", "a", ""],
      ["1000", "long\nname", "z"],
    ],
  );
  expect(lines).toEqual(["   N  NAME        LAST", "   1  a", "1000  long\\nname  z"]);
});
