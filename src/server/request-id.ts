/** By which name a call goes in the log, here and at its caller's. */
import { randomUUID } from "node:crypto";
import { createContextKey } from "@connectrpc/connect";

/** The header in which a caller may give one, and in which every answer has it. */
export const requestIdHeader = "x-request-id";

export const requestIdKey = createContextKey<string>("", { description: "request id" });

const wellFormed = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

/** The caller's, if it is one; else a new one: nothing goes into the log, or back, that its reader might take for something else. */
export function requestIdOf(header: Headers): string {
  const given = header.get(requestIdHeader);
  return given !== null && wellFormed.test(given) ? given : randomUUID();
}
