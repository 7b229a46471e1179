/** The outermost layer of every call: gives it an id, logs and counts it, and turns what it throws into a status. */
import { randomUUID } from "node:crypto";
import { Code, ConnectError, createContextKey, type Interceptor } from "@connectrpc/connect";
import { toDomainError } from "../db/errors.js";
import { DomainError } from "../errors.js";
import type { Logger } from "../log.js";
import type { Metrics } from "../metrics/metrics.js";
import { callContextKey } from "../rpc/context.js";
import { clientGone, internalError, toConnectError } from "../rpc/errors.js";

export const requestIdKey = createContextKey<string>("", { description: "request id" });

/** Must be the first interceptor. */
export function guard(log: Logger, metrics: Metrics): Interceptor {
  return (next) => async (request) => {
    const requestId = randomUUID();
    request.contextValues.set(requestIdKey, requestId);
    const startMs = performance.now();
    const method = `${request.service.typeName}/${request.method.name}`;
    metrics.openCalls.inc({ method });
    const done = (error?: ConnectError) => {
      const code = error === undefined ? "OK" : Code[error.code];
      const durationMs = performance.now() - startMs;
      metrics.openCalls.dec({ method });
      metrics.calls.inc({ method, code });
      metrics.callSeconds.observe({ method }, durationMs / 1000);
      const call = request.contextValues.get(callContextKey);
      log.debug(
        {
          requestId,
          method,
          tenantId: call?.tenantId,
          callerId: call?.callerId,
          code,
          durationMs: Math.round(durationMs),
        },
        "call",
      );
    };
    const fail = (error: unknown) => {
      const { signal } = request;
      // A handler that stopped because nobody waits for it any more threw what its signal gave as the reason.
      const status = signal.aborted && error === signal.reason ? clientGone(error) : toStatus(error, requestId, log);
      done(status);
      return status;
    };
    try {
      const response = await next(request);
      if (response.stream) return { ...response, message: guarded(response.message, done, fail) };
      done();
      return response;
    } catch (error) {
      throw fail(error);
    }
  };
}

/** A stream's errors come while it is read. */
async function* guarded<T>(
  messages: AsyncIterable<T>,
  done: (error?: ConnectError) => void,
  fail: (error: unknown) => ConnectError,
): AsyncGenerator<T> {
  let left = true;
  try {
    yield* messages;
    left = false;
    done();
  } catch (error) {
    left = false;
    throw fail(error);
  } finally {
    // Nobody reads on, and nothing was thrown.
    if (left) done(clientGone(undefined));
  }
}

function toStatus(error: unknown, requestId: string, log: Logger): ConnectError {
  const known = toDomainError(error);
  if (known instanceof DomainError) {
    if (known.code === "UNAVAILABLE") log.warn({ requestId, err: known.cause }, known.message);
    return toConnectError(known);
  }
  if (known instanceof ConnectError) return fromProtocol(known);
  log.error({ requestId, err: error }, "a call failed for an unexpected reason");
  return internalError(requestId, error);
}

/**
 * What the protocol layer itself refuses. An agent that meets a limit must know it from the server being busy, and bytes
 * that are no message from a failure of the server's: it calls them internal.
 */
function fromProtocol(error: ConnectError): ConnectError {
  if (error.code === Code.ResourceExhausted) {
    return toConnectError(new DomainError("RESOURCE_EXHAUSTED", error.rawMessage, { reason: "MESSAGE_TOO_LARGE", cause: error }));
  }
  if (error.code === Code.Internal || (error.code === Code.InvalidArgument && error.details.length === 0)) {
    return toConnectError(new DomainError("INVALID_ARGUMENT", error.rawMessage, { reason: "MALFORMED_MESSAGE", cause: error }));
  }
  return error;
}
