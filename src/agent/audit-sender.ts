/** One PushAudit stream at a time, opened when there is something to send, and ended so that its answer acknowledges. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type AuditBatchSchema,
  type AuditCounts,
  AuditService,
  type PushAuditRequestSchema,
  type PushAuditResponse,
} from "../gen/frostline/v1/audit_pb.js";
import type { FilePosition } from "./audit-file.js";
import { acknowledge, type TrackedFile } from "./audit-state.js";
import type { Client, ClientStream } from "./client.js";

/** What was sent of a file: up to where, and how many lines. */
export interface Sent {
  tracked: TrackedFile;
  to: FilePosition;
  lines: number;
}

export interface AuditSender {
  /** Resolves when the transport wants more. Rejects once the stream has failed. */
  send(batch: MessageInitShape<typeof AuditBatchSchema>, sent: Sent): Promise<void>;
  /** Waits until all that was sent is committed. */
  finish(): Promise<void>;
  /** Gives the stream up; nothing if it has ended. */
  cancel(): void;
  /** Sent, and not known to be committed. */
  unacknowledged(): readonly Sent[];
}

export interface SenderOptions {
  shareName: string;
  /** Asked for when a stream is opened. */
  volumeId: () => string;
  signal: AbortSignal;
  onCommitted: (counts: AuditCounts | undefined) => void;
}

/** So that a lost connection costs the counts of some 16 MiB at most. */
const batchesAtMost = 64;

export function createAuditSender(client: Client, options: SenderOptions): AuditSender {
  let stream: ClientStream<MessageInitShape<typeof PushAuditRequestSchema>, PushAuditResponse> | undefined;
  let sent: Sent[] = [];

  async function finish(): Promise<void> {
    if (stream === undefined) return;
    const { counts } = await stream.finish();
    stream = undefined;
    for (const { tracked, to } of sent) acknowledge(tracked, to);
    sent = [];
    options.onCommitted(counts);
  }

  return {
    async send(batch, what) {
      if (stream === undefined) {
        stream = client.clientStream(AuditService.method.pushAudit, { signal: options.signal });
        await stream.send({ message: { case: "open", value: { shareName: options.shareName, volumeId: options.volumeId() } } });
      }
      sent.push(what);
      await stream.send({ message: { case: "batch", value: batch } });
      if (sent.length >= batchesAtMost) await finish();
    },
    finish,
    cancel: () => stream?.cancel(),
    unacknowledged: () => sent,
  };
}
