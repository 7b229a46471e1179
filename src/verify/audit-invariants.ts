/** What must always be true of what audit events left; see invariants.ts. */
import type { Invariant } from "./invariants.js";

export const auditInvariants: Invariant[] = [
  {
    name: "audit_log-share",
    holds: "every row of the audit log is of a share",
    sql: `SELECT format('audit_log %s of share %s file_current %s, recorded %s', l.kind, l.share_id, l.file_current_id, l.recorded_utc) AS row FROM audit_log l
      LEFT JOIN share h ON h.tenant_id = l.tenant_id AND h.share_id = l.share_id WHERE l.tenant_id = $1 AND h.share_id IS NULL`,
  },
  {
    name: "audit_log-file",
    holds: "every row of the audit log is of a file that file_current has",
    sql: `SELECT format('audit_log %s of share %s file_current %s, recorded %s', l.kind, l.share_id, l.file_current_id, l.recorded_utc) AS row FROM audit_log l
      LEFT JOIN file_current c ON c.tenant_id = l.tenant_id AND c.file_current_id = l.file_current_id AND c.share_id = l.share_id
      WHERE l.tenant_id = $1 AND c.file_current_id IS NULL`,
  },
  {
    name: "audit_log-month",
    holds: "rows of the audit log whose month has a table of its own lie in it",
    sql: `SELECT format('%s: audit_log of share %s file_current %s, recorded %s', l.tableoid::regclass, l.share_id, l.file_current_id, l.recorded_utc) AS row FROM audit_log l
      WHERE l.tenant_id = $1 AND l.tableoid <> to_regclass('public.audit_log_' || to_char(l.recorded_utc AT TIME ZONE 'UTC', 'YYYYMM'))`,
  },
  {
    name: "lucid_audit_cursor-share",
    holds: "every audit file that was read is of the volume of a share",
    sql: `SELECT format('lucid_audit_cursor %s %s', c.volume_id, c.audit_file_path) AS row FROM lucid_audit_cursor c
      LEFT JOIN share h ON h.tenant_id = c.tenant_id AND h.volume_id = c.volume_id WHERE c.tenant_id = $1 AND h.share_id IS NULL`,
  },
  {
    // Not that it lies before the cursor: ResetAuditCursor sets one back, and what comes again is known by these.
    name: "lucid_audit_processed-cursor",
    holds: "every processed audit event is of a file that has a cursor, and of no generation that is still to come",
    sql: `SELECT format('lucid_audit_processed %s %s: the cursor is at generation %s', p.volume_id, p.audit_event_id, c.generation) AS row FROM lucid_audit_processed p
      LEFT JOIN (
        SELECT tenant_id, volume_id, generation, translate(left(encode(sha256(convert_to(audit_file_path, 'UTF8')), 'base64'), 16), '+/', '-_') AS file_key
        FROM lucid_audit_cursor WHERE tenant_id = $1
      ) c ON c.tenant_id = p.tenant_id AND c.volume_id = p.volume_id AND c.file_key = split_part(p.audit_event_id, ':', 1)
      WHERE p.tenant_id = $1 AND (c.file_key IS NULL OR split_part(p.audit_event_id, ':', 2)::integer > c.generation)`,
  },
];
