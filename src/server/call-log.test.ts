import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { DomainError } from "../errors.js";
import { createLogger } from "../log.js";
import { toConnectError } from "../rpc/errors.js";
import { type CallLogOptions, type EndedCall, logCall } from "./call-log.js";

const notFound = toConnectError(new DomainError("NOT_FOUND", 'There is no file "/private/diary".', { reason: "FILE_NOT_FOUND" }));
const refused = toConnectError(new DomainError("UNAUTHENTICATED", "No key.", { reason: "KEY_MISSING" }));

function lineOf(call: Partial<EndedCall>, options: Partial<CallLogOptions> = {}): Record<string, unknown> {
  const lines: string[] = [];
  const log = createLogger("trace", { destination: { write: (line) => void lines.push(line) } });
  const ended = {
    requestId: "r1",
    traceId: undefined,
    method: "frostline.v1.FileService/GetFile",
    streaming: false,
    caller: undefined,
    error: undefined,
    durationMs: 3.4,
    ...call,
  };
  logCall(log, { slowMs: 1000, values: false, ...options }, ended);
  expect(lines).toHaveLength(1);
  return JSON.parse(lines[0] as string);
}

test.each([
  ["a unary call that is OK", {}, 20],
  ["a stream that is OK", { streaming: true }, 30],
  ["an error", { error: notFound }, 30],
  ["who was refused, and has a line already", { error: refused }, 20],
  ["a probe", { method: "grpc.health.v1.Health/Watch", streaming: true, durationMs: 99_999 }, 20],
  ["a slow call", { durationMs: 1000 }, 40],
  ["a slow call that failed", { durationMs: 1000, error: notFound }, 40],
  ["a stream, however long it was open", { durationMs: 1e9, streaming: true }, 30],
] satisfies [string, Partial<EndedCall>, number][])("%s", (_, call, level) => {
  expect(lineOf(call)).toMatchObject({ level, requestId: "r1" });
});

test("no call is slow when none is to be", () => {
  expect(lineOf({ durationMs: 1e9 }, { slowMs: 0 }).level).toBe(20);
});

test("an error is told by code and reason; its message, which names paths, only when it is asked for", () => {
  const line = lineOf({ error: notFound });
  expect(line).toMatchObject({ code: Code[Code.NotFound], reason: "FILE_NOT_FOUND", durationMs: 3 });
  expect(JSON.stringify(line)).not.toContain("diary");
  expect(lineOf({ error: notFound }, { values: true }).message).toContain("/private/diary");
});
