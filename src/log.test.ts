import pg from "pg";
import { expect, test } from "vitest";
import { errorText, serializeError } from "./log.js";

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

function databaseError(code: string, message: string): Error {
  return Object.assign(new pg.DatabaseError(message, message.length, "error"), { code, detail: "Failing row contains (/a/diary)." });
}

test("of PostgreSQL's errors neither the detail nor the value that a data exception quotes is told, unless it is asked for", () => {
  const bad = databaseError("22P02", 'invalid input syntax for type bigint: "/a/"diary""');
  const told = serializeError(new Error("outer", { cause: bad }));
  expect(JSON.stringify(told)).not.toContain("diary");
  expect(told).toMatchObject({ cause: { code: "22P02", message: 'invalid input syntax for type bigint: "..."' } });
  expect(serializeError(bad, true)).toMatchObject({
    message: expect.stringContaining("diary"),
    detail: "Failing row contains (/a/diary).",
  });
  const constraint = databaseError("23505", 'duplicate key value violates unique constraint "share_name"');
  expect(serializeError(constraint)).toMatchObject({ message: expect.stringContaining('"share_name"') });
  expect(JSON.stringify(serializeError(constraint))).not.toContain("diary");
});

test("an error in a line has its causes and the SQLSTATE, without values, and an end", () => {
  const error = new Error("failed for one", { cause: databaseError("22P02", 'invalid input: "diary"') });
  expect(errorText(error)).toBe('failed for one: invalid input: "..." (22P02)');
  expect(errorText(new Error("x".repeat(5000)))).toHaveLength(1000);
  expect(errorText("text")).toBe("unknown error");
});
