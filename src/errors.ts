/**
 * The one error type that crosses our own layers. `db/errors.ts` makes it of a SQLSTATE,
 * `rpc/errors.ts` makes a gRPC status of it; nothing else translates.
 */

/** gRPC status names; only those that a caller can be told. */
export type ErrorCode =
  | "INVALID_ARGUMENT"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "UNAUTHENTICATED"
  | "FAILED_PRECONDITION"
  | "OUT_OF_RANGE"
  | "ABORTED"
  | "RESOURCE_EXHAUSTED"
  | "UNAVAILABLE";

export interface DomainErrorDetails {
  /** UPPER_SNAKE_CASE, stable: what a program may branch on. Becomes google.rpc.ErrorInfo.reason. */
  reason: string;
  /** Facts of this case, e.g. `{ expected_chunk_no: "7" }`. Becomes google.rpc.ErrorInfo.metadata. */
  metadata?: Record<string, string>;
  /** When to try again, in ms. Becomes google.rpc.RetryInfo. RESOURCE_EXHAUSTED and UNAVAILABLE always have one. */
  retryDelayMs?: number;
  cause?: unknown;
}

export class DomainError extends Error {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly metadata: Record<string, string>;
  readonly retryDelayMs: number | undefined;

  /** The message says what was wrong, where, and what to do. */
  constructor(code: ErrorCode, message: string, details: DomainErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "DomainError";
    this.code = code;
    this.reason = details.reason;
    this.metadata = details.metadata ?? {};
    this.retryDelayMs = details.retryDelayMs ?? (code === "RESOURCE_EXHAUSTED" || code === "UNAVAILABLE" ? 1000 : undefined);
  }
}
