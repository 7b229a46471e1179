import { expect, test } from "vitest";
import { serializeError } from "./log.js";

test("an error is logged without what a library hung on it", () => {
  const cause = Object.assign(new Error("terminating connection"), { code: "57P01", client: { password: "secret" }, detail: "row (/a)" });
  const logged = serializeError(new TypeError("outer", { cause }));
  expect(logged).toEqual({
    type: "TypeError",
    message: "outer",
    stack: expect.stringContaining("log.test.ts"),
    cause: { type: "Error", message: "terminating connection", stack: expect.any(String), code: "57P01" },
  });
  expect(serializeError(undefined)).toBeUndefined();
});
