/** Domain error -> gRPC status with google.rpc details. The only place that does. */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import type { DomainError, ErrorCode } from "../errors.js";

const codes: Record<ErrorCode, Code> = {
  INVALID_ARGUMENT: Code.InvalidArgument,
  NOT_FOUND: Code.NotFound,
  ALREADY_EXISTS: Code.AlreadyExists,
  PERMISSION_DENIED: Code.PermissionDenied,
  UNAUTHENTICATED: Code.Unauthenticated,
  FAILED_PRECONDITION: Code.FailedPrecondition,
  OUT_OF_RANGE: Code.OutOfRange,
  ABORTED: Code.Aborted,
  RESOURCE_EXHAUSTED: Code.ResourceExhausted,
  UNAVAILABLE: Code.Unavailable,
};

/**
 * A status travels in headers, its message twice, and once percent-encoded: many clients take 8 KiB of them, and Node sends no more than
 * 64. A message that quotes what was asked for is as long as somebody made it.
 */
const messageBytesAtMost = 1200;
const metadataBytesAtMost = 300;

/** The status of a domain error: ErrorInfo always, RetryInfo when it is worth trying again. */
export function toConnectError(error: DomainError): ConnectError {
  const status = withReason(error.message, codes[error.code], error.reason, error.metadata, error);
  if (error.retryDelayMs !== undefined) status.details.push({ type: "google.rpc.RetryInfo", value: encodeRetryInfo(error.retryDelayMs) });
  return status;
}

/** What callers are told of a failure that nobody foresaw: where to look, and nothing else. */
export function internalError(requestId: string, cause: unknown): ConnectError {
  const message = `internal error; the server's log tells more under ${requestId}`;
  return withReason(message, Code.Internal, "INTERNAL", { request_id: requestId }, cause);
}

/** For the log: a client that has gone away reads no status. */
export function clientGone(cause: unknown): ConnectError {
  return cause instanceof ConnectError ? cause : new ConnectError("the client has gone away", Code.Canceled, undefined, undefined, cause);
}

/** With details a client has the message as it is: grpc-js does not decode all that connect encodes in the grpc-message header. */
function withReason(message: string, code: Code, reason: string, metadata: Record<string, string>, cause: unknown): ConnectError {
  const status = new ConnectError(shortened(message, messageBytesAtMost), code, undefined, undefined, cause);
  status.details.push({ type: "google.rpc.ErrorInfo", value: encodeErrorInfo(reason, metadata) });
  return status;
}

/** Cut between two characters; half of a surrogate pair, which no header can have, becomes U+FFFD. */
function shortened(text: string, bytesAtMost: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= bytesAtMost) return bytes.toString();
  return `${new TextDecoder().decode(bytes.subarray(0, bytesAtMost), { stream: true })}…`;
}

/** google.rpc.ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; } */
function encodeErrorInfo(reason: string, metadata: Record<string, string>): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string(reason);
  writer.tag(2, WireType.LengthDelimited).string("frostline");
  for (const [key, value] of Object.entries(metadata)) {
    writer.tag(3, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(key);
    writer.tag(2, WireType.LengthDelimited).string(shortened(value, metadataBytesAtMost));
    writer.join();
  }
  return writer.finish();
}

/** google.rpc.RetryInfo { google.protobuf.Duration retry_delay = 1; }, Duration { int64 seconds = 1; int32 nanos = 2; } */
function encodeRetryInfo(delayMs: number): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.Varint).int64(Math.floor(delayMs / 1000));
  writer.tag(2, WireType.Varint).int32(Math.floor((delayMs % 1000) * 1e6));
  writer.join();
  return writer.finish();
}
