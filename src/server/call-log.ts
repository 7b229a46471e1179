/** The line that the log has of each call that has ended. */
import { Code, type ConnectError } from "@connectrpc/connect";
import { DomainError } from "../errors.js";
import type { Logger } from "../log.js";
import type { CallContext } from "../rpc/context.js";

export interface EndedCall {
  requestId: string;
  traceId: string | undefined;
  /** service/method */
  method: string;
  streaming: boolean;
  /** Undefined where nobody was authenticated. */
  caller: CallContext | undefined;
  /** Undefined: OK. */
  error: ConnectError | undefined;
  durationMs: number;
}

export interface CallLogOptions {
  /** A unary call that takes longer is a warning; 0: none is. */
  slowMs: number;
  /** What a caller was told of its mistake stands in the log, and with it paths. */
  values: boolean;
}

/** Who is refused has a line already, with the reason. */
const refused = new Set([Code.Unauthenticated, Code.PermissionDenied]);

/**
 * Streams, and calls that ended in an error, at info; unary calls that are OK at debug, as there may be thousands in a second, and as
 * many calls of health and reflection. Never the message of an error, unless `values` says so: it may name a path.
 */
export function logCall(log: Logger, { slowMs, values }: CallLogOptions, call: EndedCall): void {
  const { requestId, traceId, method, streaming, caller, error, durationMs } = call;
  const line = {
    requestId,
    ...(traceId === undefined ? {} : { traceId }),
    method,
    tenantId: caller?.tenantId,
    callerId: caller?.callerId,
    code: error === undefined ? "OK" : Code[error.code],
    ...(error?.cause instanceof DomainError ? { reason: error.cause.reason } : {}),
    ...(values && error !== undefined ? { message: error.rawMessage } : {}),
    durationMs: Math.round(durationMs),
  };
  const probe = method.startsWith("grpc.");
  if (!streaming && !probe && slowMs > 0 && durationMs >= slowMs) log.warn(line, "a call was slow");
  else if (probe || (error === undefined ? !streaming : refused.has(error.code))) log.debug(line, "call");
  else log.info(line, "call");
}
