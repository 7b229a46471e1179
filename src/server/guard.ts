/** The outermost layer of every call: gives it an id, logs, counts and traces it, and turns what it throws into a status. */
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { toDomainError } from "../db/errors.js";
import { DomainError } from "../errors.js";
import type { Logger } from "../log.js";
import type { Metrics } from "../metrics/metrics.js";
import { callContextKey } from "../rpc/context.js";
import { clientGone, internalError, toConnectError } from "../rpc/errors.js";
import { admissionKey } from "./admission.js";
import { type CallLogOptions, logCall } from "./call-log.js";
import { beginCallSpan, type CallSpan } from "./call-span.js";
import { requestIdHeader, requestIdKey, requestIdOf } from "./request-id.js";
import { whileAwaited } from "./while-awaited.js";

/** Must be the first interceptor. A unary call ends with its signal, and its database work is cancelled then. */
export function guard(log: Logger, metrics: Metrics, options: CallLogOptions): Interceptor {
  return (next) => async (request) => {
    const requestId = requestIdOf(request.header);
    request.contextValues.set(requestIdKey, requestId);
    const startMs = performance.now();
    const { typeName } = request.service;
    const method = `${typeName}/${request.method.name}`;
    const span = beginCallSpan(typeName, request.method.name, request.header, requestId);
    metrics.openCalls.inc({ method });
    const place = request.contextValues.get(admissionKey)?.place;
    place?.hold();
    const done = (error?: ConnectError) => {
      const durationMs = performance.now() - startMs;
      metrics.openCalls.dec({ method });
      if (request.stream) place?.letGo();
      metrics.calls.inc({ method, code: error === undefined ? "OK" : Code[error.code] });
      metrics.callSeconds.observe({ method }, durationMs / 1000);
      const caller = request.contextValues.get(callContextKey);
      span.end(error, caller?.tenantId);
      logCall(log, options, { requestId, traceId: span.traceId, method, streaming: request.stream, caller, error, durationMs });
    };
    const fail = (error: unknown) => {
      const { signal } = request;
      // A handler that stopped because nobody waits for it any more threw what its signal gave as the reason.
      const status = signal.aborted && error === signal.reason ? clientGone(error) : toStatus(error, requestId, log);
      status.metadata.set(requestIdHeader, requestId);
      done(status);
      return status;
    };
    try {
      const response = await span.within(() =>
        request.stream ? next(request) : whileAwaited(request.signal, () => next(request).finally(() => place?.letGo())),
      );
      response.header.set(requestIdHeader, requestId);
      if (response.stream) return { ...response, message: guarded(response.message, span, done, fail) };
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
  span: CallSpan,
  done: (error?: ConnectError) => void,
  fail: (error: unknown) => ConnectError,
): AsyncGenerator<T> {
  let left = true;
  const iterator = messages[Symbol.asyncIterator]();
  try {
    for (;;) {
      // What is asked for runs within the span of the call, not of whoever reads.
      const next = await span.within(() => iterator.next());
      if (next.done === true) break;
      yield next.value;
    }
    left = false;
    done();
  } catch (error) {
    left = false;
    // Of a client that has gone, the error is thrown in here: what the stream holds comes free as well.
    await iterator.return?.();
    throw fail(error);
  } finally {
    if (left) {
      // Nobody reads on, and nothing was thrown.
      try {
        await iterator.return?.();
      } finally {
        done(clientGone(undefined));
      }
    }
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
