/** Sums of what the server says became of events. */
import type { AuditCounts } from "../gen/frostline/v1/audit_pb.js";

export const auditCounters = [
  "applied",
  "duplicate",
  "stale",
  "inserted",
  "waiting",
  "moved",
  "deleted",
  "excluded",
  "refused",
  "ignored",
] as const;

/** Events by where they went. */
export type AuditTotals = Record<(typeof auditCounters)[number], bigint>;

export function newAuditTotals(): AuditTotals {
  return {
    applied: 0n,
    duplicate: 0n,
    stale: 0n,
    inserted: 0n,
    waiting: 0n,
    moved: 0n,
    deleted: 0n,
    excluded: 0n,
    refused: 0n,
    ignored: 0n,
  };
}

/** Adds to `totals` in place; nothing when the server counted nothing. */
export function addCounts(totals: AuditTotals, counts: AuditCounts | AuditTotals | undefined): void {
  if (counts !== undefined) for (const counter of auditCounters) totals[counter] += counts[counter];
}
