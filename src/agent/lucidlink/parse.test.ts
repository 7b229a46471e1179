import * as fs from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AuditAction } from "../../gen/frostline/v1/audit_pb.js";
import { parseLine } from "./parse.js";

const samples = new URL("../../../test/samples/lucid-audit/6f1d2c3e-0000-4000-8000-000000000a01/2026/09/", import.meta.url);
const at = "/Shows/Harbor Lights";

function parse(record: unknown) {
  return parseLine(Buffer.from(typeof record === "string" ? record : JSON.stringify(record)), 7);
}

/** Action, path and target, or the reason, of every line of a sample. */
function linesOf(name: string): unknown[] {
  const lines = fs.readFileSync(new URL(name, samples)).toString("latin1").split("\n");
  return lines.map((line) => {
    const { event } = parseLine(Buffer.from(line, "latin1"), 0);
    return event.refusedReason || [event.actionName, AuditAction[event.action], Number(event.timeMicros), event.path, event.targetPath];
  });
}

const record = {
  timestamp: 1_790_187_300_000_001,
  user: { name: "ben", id: "b-1" },
  device: { hostName: "studio" },
  event: { nodeId: "n-1", filespaceUuid: "u-1" },
  operation: { action: "FileRead", entryPath: "/a" },
};
const withOperation = (operation: object) => ({ ...record, operation: { ...record.operation, ...operation } });

describe("the samples", () => {
  test("the rotated log", () => {
    expect(linesOf("2026-09-23T18.15.00Z.log")).toEqual([
      ["FileRead", "READ", 1790187300000001, `${at}/A001_C001.mxf`, ""],
      ["DirectoryCreate", "CREATE_DIRECTORY", 1790187302000001, `${at}/Conform`, ""],
      ["FileRead", "READ", 1790187303500000, `${at}/A001_C001.mxf`, ""],
      ["PreHydrate", "PREFETCH", 1790187304000000, `${at}/A001_C003.mxf`, ""],
      "the line is not JSON",
      ["FileRead", "READ", 1790187305000000, `${at}/Élan — 東京.mov`, ""],
      "the line is empty",
    ]);
  });

  test("the open log, whose last line is not whole", () => {
    expect(linesOf("2026-09-23T18.30.00Z.log.active")).toEqual([
      ["FileRead", "READ", 1790188241118204, `${at}/A001_C002.mxf`, ""],
      ["FileCreate", "CREATE_FILE", 1790188247002517, `${at}/harbor.prproj.tmp`, ""],
      ["FileWritten", "WRITE", 1790188248250991, `${at}/harbor.prproj.tmp`, ""],
      ["Move", "MOVE", 1790188249010433, `${at}/harbor.prproj.tmp`, `${at}/harbor.prproj`],
      ["FileDelete", "DELETE_FILE", 1790188249044120, `${at}/harbor.prproj.bak`, ""],
      ["Move", "MOVE", 1790188249118204, at, `${at} (locked)`],
      "the line is not JSON",
    ]);
  });
});

test("who, where, and of which volume", () => {
  expect(parse(record)).toMatchObject({ volumeId: "u-1", event: { offset: 7n, user: "ben", host: "studio", node: "n-1" } });
  expect(parse({ ...record, user: { id: 17 }, device: 5, event: { nodeId: 3 } })).toMatchObject({
    volumeId: "",
    event: { user: "17", host: "", node: "3", refusedReason: "" },
  });
  expect(parse({ ...record, user: { name: "a\0b\ud800" } }).event.user).toBe("a\uFFFDb\uFFFD");
  const { timestamp, operation } = record;
  expect(parse({ operation, timestamp }).event).toMatchObject({ path: "/a", user: "", host: "", node: "", refusedReason: "" });
});

test("times are numbers or text, to the microsecond", () => {
  expect(parse({ ...record, timestamp: "9223372036854775807" }).event.timeMicros).toBe(2n ** 63n - 1n);
  expect(parse({ ...record, timestamp: 0 }).event).toMatchObject({ timeMicros: 0n, refusedReason: "" });
});

test.each([
  ["FileRead", "READ"],
  ["PreHydrate", "PREFETCH"],
  ["FileWritten", "WRITE"],
  ["FileCreate", "CREATE_FILE"],
  ["DirectoryCreate", "CREATE_DIRECTORY"],
  ["SymlinkCreate", "UNSPECIFIED"],
  ["Move", "MOVE"],
  ["FileDelete", "DELETE_FILE"],
  ["DirectoryDelete", "DELETE_DIRECTORY"],
  ["ExtendedAttributeSet", "UNSPECIFIED"],
  ["ExtendedAttributeDelete", "UNSPECIFIED"],
  ["Pin", "UNSPECIFIED"],
  ["Unpin", "UNSPECIFIED"],
  ["constructor", "UNSPECIFIED"],
])("%s is %s", (action, expected) => {
  const { event } = parse(withOperation({ action, targetPath: "/b" }));
  expect([AuditAction[event.action], event.actionName, event.refusedReason]).toEqual([expected, action, ""]);
  expect(event.targetPath).toBe(action === "Move" ? "/b" : "");
});

test("what is done to the trail itself is no access, unless it is moved away", () => {
  const actionOf = (operation: object) => AuditAction[parse(withOperation(operation)).event.action];
  expect(actionOf({ entryPath: "/.lucid_audit/n/2026/09/x.log" })).toBe("UNSPECIFIED");
  expect(actionOf({ action: "Move", entryPath: "/.lucid_audit/x.log.active", targetPath: "/.lucid_audit/x.log" })).toBe("UNSPECIFIED");
  expect(actionOf({ action: "Move", entryPath: "/.lucid_audit/x.log", targetPath: "/x.log" })).toBe("MOVE");
  expect(actionOf({ entryPath: "/.lucid_audit_old/x.log" })).toBe("READ");
  expect(actionOf({ entryPath: "/a/.lucid_audit/x.log" })).toBe("READ");
});

test("what movers do with their own files is passed over, also as these take a tiered file's place", () => {
  const actionOf = (operation: object) => AuditAction[parse(withOperation(operation)).event.action];
  expect(actionOf({ action: "FileCreate", entryPath: "/.frostline/7.stub" })).toBe("UNSPECIFIED");
  expect(actionOf({ action: "Move", entryPath: "/.frostline/7.stub", targetPath: "/film.mov" })).toBe("UNSPECIFIED");
  expect(actionOf({ action: "Move", entryPath: "/film.mov", targetPath: "/.frostline/film.mov" })).toBe("MOVE");
  expect(actionOf({ entryPath: "/a/.frostline/7.stub" })).toBe("READ");
});

test.each([
  ["", "the line is empty"],
  ["[1]", "not a JSON object"],
  ["null", "not a JSON object"],
  [{ ...record, timestamp: undefined }, "timestamp is missing"],
  [{ ...record, timestamp: 1.5 }, "timestamp is no whole number"],
  [{ ...record, timestamp: -1 }, "timestamp is no whole number"],
  [{ ...record, timestamp: 2 ** 53 }, "timestamp is no whole number"],
  [{ ...record, timestamp: "9223372036854775808" }, "timestamp is no whole number"],
  [{ ...record, timestamp: "2026-09-23T18:15:00Z" }, "timestamp is no whole number"],
  [{ ...record, operation: undefined }, "operation.action is missing"],
  [withOperation({ action: "" }), "operation.action is missing"],
  [withOperation({ action: 3 }), "operation.action is no text"],
  [withOperation({ entryPath: undefined }), "operation.entryPath is missing"],
  [withOperation({ entryPath: "a" }), "operation.entryPath is no path"],
  [withOperation({ entryPath: "/a\0" }), "operation.entryPath is no path"],
  [withOperation({ entryPath: "/\ud83d" }), "operation.entryPath is no path"],
  [withOperation({ action: "Move" }), "operation.targetPath is missing"],
  [withOperation({ action: "Move", targetPath: "" }), "operation.targetPath is missing"],
  [withOperation({ action: "Move", targetPath: ["/b"] }), "operation.targetPath is no path"],
])("%j is refused", (line, reason) => {
  const { event, volumeId } = parse(line);
  expect(event.refusedReason).toContain(reason);
  expect([event.offset, event.path, volumeId]).toEqual([7n, "", ""]);
});

test("bytes that are no UTF-8 are refused, not guessed at", () => {
  const line = Buffer.from(JSON.stringify(record).replace("/a", "/\xe9"), "latin1");
  expect(parseLine(line, 0).event.refusedReason).toBe("the line is not UTF-8");
});

test("no line makes it throw, and each is an event or refused", () => {
  const anything = fc.oneof(
    fc.uint8Array(),
    fc.json().map((json) => Buffer.from(json)),
    fc
      .record({
        timestamp: fc.anything(),
        user: fc.anything(),
        event: fc.anything(),
        operation: fc.dictionary(fc.constantFrom("action", "entryPath", "targetPath"), fc.anything()),
      })
      .map((value) => Buffer.from(JSON.stringify(value, (_key, part) => (typeof part === "bigint" ? String(part) : part)))),
  );
  fc.assert(
    fc.property(anything, (line) => {
      const { event } = parseLine(line, 0);
      expect(event.refusedReason === "").toBe(event.path.startsWith("/"));
    }),
  );
});
