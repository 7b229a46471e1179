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
