/** What a failed call says: the gRPC status, and the details that the server attached to it. */
import { type Metadata, status } from "@grpc/grpc-js";
import { decodeStatusDetails } from "./status-details.js";

/** A call that did not end with OK. */
export class RpcError extends Error {
  /** Name of the gRPC status, e.g. `FAILED_PRECONDITION`. */
  readonly code: string;
  /** google.rpc.ErrorInfo.reason: what a program may branch on. Empty when the error did not come from Frostline (a broken connection, a proxy). */
  readonly reason: string;
  /** google.rpc.ErrorInfo.metadata: the facts of the case. */
  readonly metadata: Record<string, string>;
  /** google.rpc.RetryInfo: when to try again, in ms. */
  readonly retryDelayMs: number | undefined;

  constructor(
    code: string,
    message: string,
    details: { reason?: string; metadata?: Record<string, string>; retryDelayMs?: number; cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "RpcError";
    this.code = code;
    this.reason = details.reason ?? "";
    this.metadata = details.metadata ?? {};
    this.retryDelayMs = details.retryDelayMs;
  }
}

/** What grpc-js calls ServiceError. */
interface StatusLike {
  code: number;
  details: string;
  metadata: Metadata;
}

/** The RpcError that grpc-js's error stands for; any other error unchanged. */
export function toRpcError(error: unknown): unknown {
  if (!isStatusLike(error)) return error;
  const code = status[error.code] ?? `CODE_${error.code}`;
  const [encoded] = error.metadata.get("grpc-status-details-bin");
  const details = encoded instanceof Uint8Array ? decodeStatusDetails(encoded) : {};
  return new RpcError(code, details.message || error.details || code, { ...details, cause: error });
}

function isStatusLike(error: unknown): error is Error & StatusLike {
  return error instanceof Error && typeof (error as Partial<StatusLike>).code === "number" && "details" in error && "metadata" in error;
}
