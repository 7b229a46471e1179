import { expect, test } from "vitest";
import { decodePageToken, encodePageToken, pageSize, pageTokenNumber } from "./pages.js";

const badToken = expect.objectContaining({ code: "INVALID_ARGUMENT", reason: "BAD_PAGE_TOKEN" });

test("a token gives its position back", () => {
  expect(decodePageToken(encodePageToken(["main", "7"]), 2)).toEqual(["main", "7"]);
  expect(decodePageToken("", 2)).toBeUndefined();
});

test.each(["x", "%%%", encodePageToken(["1", "2"]), Buffer.from("[1]").toString("base64url"), Buffer.from("null").toString("base64url")])(
  "%j is refused where one part is expected",
  (token) => {
    expect(() => decodePageToken(token, 1)).toThrow(badToken);
  },
);

test("an id is a whole number that fits its column", () => {
  expect(pageTokenNumber("123")).toBe(123n);
  for (const part of ["", "1.5", "0x1", "9".repeat(30), "1; DROP"]) expect(() => pageTokenNumber(part)).toThrow(badToken);
  expect(pageTokenNumber("-2147483648", 32)).toBe(-2_147_483_648n);
  expect(() => pageTokenNumber("2147483648", 32)).toThrow(badToken);
});

test("page sizes have a default and a limit", () => {
  expect([pageSize(0, 100, 1000), pageSize(5, 100, 1000)]).toEqual([100, 5]);
  for (const size of [-1, 1001]) expect(() => pageSize(size, 100, 1000)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
});
