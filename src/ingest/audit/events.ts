/** Audit events, whatever source they are of. */

export type AuditAction =
  | "OTHER"
  | "READ"
  | "PREFETCH"
  | "WRITE"
  | "CREATE_FILE"
  | "CREATE_DIRECTORY"
  | "MOVE"
  | "DELETE_FILE"
  | "DELETE_DIRECTORY";

/** One event, its paths in the share's normal form. */
export interface AuditEvent {
  eventId: string;
  timeMicros: bigint;
  action: AuditAction;
  path: string;
  /** Of a MOVE. */
  targetPath: string;
  user: string;
  host: string;
}

/** By whom and when a file was read or written. */
export type AccessEvent = Pick<AuditEvent, "eventId" | "timeMicros" | "user" | "host">;

/** An event as it arrived: its paths as the agent gave them. */
export interface ReceivedEvent extends AuditEvent {
  /** Where it begins in its audit file. */
  offset: bigint;
  node: string;
  /** The action in the trail's own word. */
  actionName: string;
  /** Why it could not be read; empty when it could. */
  refusedReason: string;
}

/** Lines of one audit file, one behind the other. */
export interface Batch {
  auditFilePath: string;
  headFingerprint: Uint8Array;
  startOffset: bigint;
  endOffset: bigint;
  events: ReceivedEvent[];
  /** The file was found shorter than its cursor, and is read from its start. */
  restarted: boolean;
}

/** A batch that is not decoded yet. */
export interface BatchInBytes {
  events: number;
  bytes: number;
  /** Each time anew: events are changed where they are applied. Rejects with INVALID_ARGUMENT. */
  read(): Promise<Batch>;
}
