/** What must always be true of what retention has done; see invariants.ts. */
import type { Invariant } from "./invariants.js";

export const retentionInvariants: Invariant[] = [
  {
    name: "purged-scans",
    holds: "scans whose history is purged are older than every scan of their share that can be read, and have ended",
    sql: `SELECT format('scan %s of share %s: purged %s, %s', s.scan_id, s.share_id, s.history_purged_utc, s.status) AS row FROM scan s
      JOIN (SELECT tenant_id, share_id, min(scan_id) AS oldest FROM scan WHERE tenant_id = $1 AND history_purged_utc IS NULL GROUP BY 1, 2) r
        ON r.tenant_id = s.tenant_id AND r.share_id = s.share_id
      WHERE s.tenant_id = $1 AND s.history_purged_utc IS NOT NULL AND (s.scan_id > r.oldest OR s.status = 'RUNNING')`,
  },
  {
    name: "purged-versions",
    holds: "up to the scan to which a share's history is purged, a name has one version, and it is not REMOVED",
    sql: `SELECT format('file dir %s name %s: %s versions up to scan %s', v.dir_id, v.name, count(*), h.history_purged_to_scan_id) AS row
      FROM share h JOIN file v ON v.tenant_id = h.tenant_id AND v.share_id = h.share_id AND v.scan_id <= h.history_purged_to_scan_id
      WHERE h.tenant_id = $1 AND v.tenant_id = $1 AND h.erasing_utc IS NULL GROUP BY h.history_purged_to_scan_id, v.share_id, v.dir_id, v.name
      HAVING count(*) > 1 OR bool_or(v.change = 'R')`,
  },
  {
    name: "warming-pruned",
    holds: "no warming event is older than the position up to which they were pruned",
    sql: `SELECT format('warming_event %s: pruned up to %s', e.position, p.pruned_to_position) AS row FROM warming_event e
      JOIN warming_position p ON p.tenant_id = e.tenant_id
      WHERE e.tenant_id = $1 AND p.tenant_id = $1 AND e.position <= p.pruned_to_position`,
  },
];
