/**
 * Reads the two details that matter out of `grpc-status-details-bin`, a google.rpc.Status.
 * By hand: three messages with eight fields between them do not earn generated code.
 */
import { BinaryReader } from "@bufbuild/protobuf/wire";

export interface StatusDetails {
  /** Exact, unlike the grpc-message header: grpc-js leaves some of its percent-encoding (`%2F`) in place. */
  message?: string;
  reason?: string;
  metadata?: Record<string, string>;
  retryDelayMs?: number;
}

/** Details of other types are passed over. Throws when the bytes are no protobuf message. */
export function decodeStatusDetails(encoded: Uint8Array): StatusDetails {
  const found: StatusDetails = {};
  readFields(encoded, {
    2: (reader) => {
      found.message = reader.string();
    },
    // Status.details: google.protobuf.Any
    3: (reader) => {
      let typeUrl = "";
      let value: Uint8Array = new Uint8Array();
      readFields(reader.bytes(), {
        1: (any) => {
          typeUrl = any.string();
        },
        2: (any) => {
          value = any.bytes();
        },
      });
      if (typeUrl.endsWith("/google.rpc.ErrorInfo")) Object.assign(found, decodeErrorInfo(value));
      if (typeUrl.endsWith("/google.rpc.RetryInfo")) found.retryDelayMs = decodeRetryDelayMs(value);
    },
  });
  return found;
}

function decodeErrorInfo(encoded: Uint8Array): StatusDetails {
  let reason = "";
  const metadata: Record<string, string> = {};
  readFields(encoded, {
    1: (reader) => {
      reason = reader.string();
    },
    // map<string, string> metadata: each entry is a message of key and value.
    3: (reader) => {
      let key = "";
      let value = "";
      readFields(reader.bytes(), {
        1: (entry) => {
          key = entry.string();
        },
        2: (entry) => {
          value = entry.string();
        },
      });
      metadata[key] = value;
    },
  });
  return { reason, metadata };
}

/** RetryInfo.retry_delay is a google.protobuf.Duration: seconds and nanoseconds. */
function decodeRetryDelayMs(encoded: Uint8Array): number {
  let ms = 0;
  readFields(encoded, {
    1: (reader) => {
      readFields(reader.bytes(), {
        1: (duration) => {
          ms += Number(duration.int64()) * 1000;
        },
        2: (duration) => {
          ms += duration.int32() / 1e6;
        },
      });
    },
  });
  return ms;
}

function readFields(encoded: Uint8Array, fields: Record<number, (reader: BinaryReader) => void>): void {
  const reader = new BinaryReader(encoded);
  while (reader.pos < reader.len) {
    const [fieldNo, wireType] = reader.tag();
    const read = fields[fieldNo];
    if (read === undefined) reader.skip(wireType, fieldNo);
    else read(reader);
  }
}
