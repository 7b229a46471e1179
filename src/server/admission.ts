/**
 * Who calls, may they, and is there room: settled before anything of the request's body is read. What a call is refused for is
 * thrown later, by the innermost interceptor, so that it is logged, counted and sent like any other error.
 */
import { setTimeout as delay } from "node:timers/promises";
import { createContextKey, type Interceptor } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest } from "@connectrpc/connect/protocol";
import { DomainError } from "../errors.js";
import type { OpenCalls, Place } from "../limits/open-calls.js";
import type { Logger } from "../log.js";
import type { Metrics } from "../metrics/metrics.js";
import { callContextKey } from "../rpc/context.js";
import { takesBinaryOnly } from "../rpc/push-view.js";
import type { Caller } from "../tenancy/keys.js";
import { authorize } from "./authorize.js";
import type { Identify } from "./identify.js";
import { peerKey } from "./peer.js";
import { requestIdKey } from "./request-id.js";

export interface Admission {
  /** undefined: refused, or a call that needs no key. */
  caller: Caller | undefined;
  /** undefined: refused, or its request cannot be read. */
  place: Place | undefined;
  error: unknown;
}

/** Set by the adapter before a handler is called. */
export const admissionKey = createContextKey<Admission | undefined>(undefined, { description: "admission" });

export interface AdmissionOptions {
  identify: Identify;
  openCalls: OpenCalls;
  log: Logger;
  metrics: Metrics;
}

/**
 * A refusal is work as well, and whoever does not wait before it tries again is made to: from so long to twice as long, since those
 * that were refused together would else come back together.
 */
const refusedAfterMs = 500;

export type Admit = (handler: UniversalHandler, request: UniversalServerRequest) => Promise<Admission>;

/** Never rejects. */
export function admit({ identify, openCalls }: Pick<AdmissionOptions, "identify" | "openCalls">): Admit {
  return async ({ method }, { header, contextValues }) => {
    const { address = "", certificateRefused, authorizations } = contextValues?.get(peerKey) ?? peerKey.defaultValue;
    try {
      const credentials = { header: header.get("authorization"), count: authorizations, address };
      const caller = await authorize(method, identify, credentials, certificateRefused);
      assertEncoding(method, header);
      const kind = method.methodKind === "unary" ? "unary" : "stream";
      const place = openCalls.take(kind, caller?.tenantId ?? `address ${address}`, caller !== undefined);
      return { caller, place, error: undefined };
    } catch (error) {
      if (error instanceof DomainError && error.code === "RESOURCE_EXHAUSTED") await delay(refusedAfterMs * (1 + Math.random()));
      return { caller: undefined, place: undefined, error };
    }
  };
}

/** Otherwise what is told is how the server decodes a message, in names that no caller knows. */
function assertEncoding(method: UniversalHandler["method"], header: Headers): void {
  if (!takesBinaryOnly(method) || !/[+/]json\b/.test(header.get("content-type") ?? "")) return;
  throw new DomainError(
    "INVALID_ARGUMENT",
    `${method.name} takes messages in the binary encoding alone, not in JSON. Send them as gRPC, gRPC-Web or application/connect+proto.`,
    { reason: "JSON_NOT_TAKEN" },
  );
}

/** Must be the innermost interceptor. Who is refused is logged: when, from where and why, never with what key. */
export function admission({ log, metrics }: Pick<AdmissionOptions, "log" | "metrics">): Interceptor {
  return (next) => async (request) => {
    const { contextValues } = request;
    const admitted = contextValues.get(admissionKey);
    if (admitted === undefined) throw new Error("a call has reached a service without admission");
    const { caller, place, error } = admitted;
    const requestId = contextValues.get(requestIdKey);
    // Also of a call whose request cannot be read: the log says whose it was.
    if (caller !== undefined) contextValues.set(callContextKey, { ...caller, requestId });
    if (place === undefined) {
      const method = `${request.service.typeName}/${request.method.name}`;
      const { address: peer, certificateRefused } = contextValues.get(peerKey);
      if (error instanceof DomainError) {
        const line = { requestId, method, peer, code: error.code, reason: error.reason, certificateRefused };
        if (error.code === "RESOURCE_EXHAUSTED") {
          metrics.limited.inc({ reason: error.reason, of: error.metadata.of ?? "address" });
          log.debug(line, "a call met a limit");
        } else if (error.code === "UNAUTHENTICATED" || error.code === "PERMISSION_DENIED") {
          metrics.refused.inc({ reason: error.reason });
          log.info(line, "a call was refused");
        }
      }
      throw error;
    }
    return next(request);
  };
}
