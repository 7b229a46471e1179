/**
 * What must always be true of a tenant's stored data, each as one set-wise statement that returns
 * the rows that break it (at most a few, with their keys). $1 is the tenant.
 *
 * Bulk tables have no foreign keys (each would cost more than the insert); these statements are what
 * stands in for them.
 */
import { auditInvariants } from "./audit-invariants.js";
import { plannerInvariants } from "./planner-invariants.js";
import { retentionInvariants } from "./retention-invariants.js";
import { warmingInvariants } from "./warming-invariants.js";
import { webhookInvariants } from "./webhook-invariants.js";

export interface Invariant {
  /** Stable name, for programs. */
  name: string;
  /** What holds, for people. */
  holds: string;
  /** Returns one text column `row` per violation. */
  sql: string;
}

/** The newest version of each name: what history says of it. */
const newest = `SELECT DISTINCT ON (v.dir_id, v.name) v.* FROM file v WHERE v.tenant_id = $1 ORDER BY v.dir_id, v.name, v.scan_id DESC`;

export const invariants: Invariant[] = [
  {
    name: "file_current-dir",
    holds: "every file lies in a directory of its share",
    sql: `SELECT format('file_current %s: dir %s of share %s', c.file_current_id, c.dir_id, c.share_id) AS row FROM file_current c
      LEFT JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id AND d.share_id = c.share_id
      WHERE c.tenant_id = $1 AND d.dir_id IS NULL`,
  },
  {
    name: "file_current-scan",
    holds: "the scans that a file names exist and are of its share",
    sql: `SELECT format('file_current %s: first seen by scan %s, missing since scan %s', c.file_current_id, c.first_seen_scan_id, c.missing_since_scan_id) AS row
      FROM file_current c WHERE c.tenant_id = $1 AND (
        (c.first_seen_scan_id IS NOT NULL AND NOT EXISTS (SELECT FROM scan s WHERE s.tenant_id = c.tenant_id AND s.scan_id = c.first_seen_scan_id AND s.share_id = c.share_id))
        OR (c.missing_since_scan_id IS NOT NULL AND NOT EXISTS (SELECT FROM scan s WHERE s.tenant_id = c.tenant_id AND s.scan_id = c.missing_since_scan_id AND s.share_id = c.share_id)))`,
  },
  {
    name: "file_current-times",
    holds: "the effective access time is never older than the scanned one",
    sql: `SELECT format('file_current %s: atime %s, scanned %s', file_current_id, atime_unix, scanned_atime_unix) AS row FROM file_current
      WHERE tenant_id = $1 AND scanned_atime_unix > atime_unix`,
  },
  {
    name: "file_current-range",
    holds: "times are in the years 0001 to 9999, and sizes not negative: what rules count on",
    sql: `SELECT format('file_current %s: size %s, atime %s, mtime %s, ctime %s', file_current_id, size_bytes, atime_unix, mtime_unix, ctime_unix) AS row
      FROM file_current WHERE tenant_id = $1 AND (size_bytes < 0 OR LEAST(atime_unix, mtime_unix, ctime_unix) < -62135596800
        OR GREATEST(atime_unix, mtime_unix, ctime_unix) > 253402300799)`,
  },
  {
    name: "dir-parent",
    holds: "a directory's parent is the directory one name shorter, and only the root has none",
    sql: `SELECT format('dir %s %s: parent %s %s', d.dir_id, d.dir_path, d.parent_dir_id, p.dir_path) AS row FROM dir d
      LEFT JOIN dir p ON p.tenant_id = d.tenant_id AND p.dir_id = d.parent_dir_id AND p.share_id = d.share_id
      JOIN share s ON s.tenant_id = d.tenant_id AND s.share_id = d.share_id
      WHERE d.tenant_id = $1 AND CASE WHEN d.dir_path = '/' THEN d.parent_dir_id IS NOT NULL ELSE p.dir_id IS NULL
        OR (s.case_sensitive AND p.dir_path <> coalesce(nullif(left(d.dir_path, -strpos(reverse(d.dir_path), '/')), ''), '/')) END`,
  },
  {
    name: "file-references",
    holds: "every version's directory and scan exist and are of its share",
    sql: `SELECT format('file dir %s name %s scan %s', v.dir_id, v.name, v.scan_id) AS row FROM file v
      LEFT JOIN dir d ON d.tenant_id = v.tenant_id AND d.dir_id = v.dir_id AND d.share_id = v.share_id
      LEFT JOIN scan s ON s.tenant_id = v.tenant_id AND s.scan_id = v.scan_id AND s.share_id = v.share_id
      WHERE v.tenant_id = $1 AND (d.dir_id IS NULL OR s.scan_id IS NULL)`,
  },
  {
    name: "file-identity",
    holds: "every version is of a file that file_current has",
    sql: `SELECT format('file dir %s name %s scan %s: file_current %s', v.dir_id, v.name, v.scan_id, v.file_current_id) AS row FROM file v
      LEFT JOIN file_current c ON c.tenant_id = v.tenant_id AND c.file_current_id = v.file_current_id
      WHERE v.tenant_id = $1 AND c.file_current_id IS NULL`,
  },
  {
    name: "history-live",
    holds: "the newest version of a name that exists has the values and the identity of its file",
    sql: `SELECT format('dir %s name %s: scan %s says %s of file %s, file_current has %s', v.dir_id, v.name, v.scan_id, v.change, v.file_current_id, c.file_current_id) AS row
      FROM (${newest}) v
      LEFT JOIN file_current c ON c.tenant_id = v.tenant_id AND c.dir_id = v.dir_id AND c.name = v.name AND c.missing_since_scan_id IS NULL
      JOIN dir d ON d.tenant_id = v.tenant_id AND d.dir_id = v.dir_id
      WHERE v.change <> 'R' AND NOT d.history_dirty AND (c.file_current_id IS NULL OR c.file_current_id <> v.file_current_id
        OR (NOT c.stale_metadata AND (c.size_bytes, c.allocated_bytes, c.scanned_atime_unix, c.mtime_unix, c.ctime_unix, c.frn, c.owner, c.file_hash, c.link_count)
          IS DISTINCT FROM (v.size_bytes, v.allocated_bytes, v.atime_unix, v.mtime_unix, v.ctime_unix, v.frn, v.owner, v.file_hash, v.link_count)))`,
  },
  {
    name: "history-gone",
    holds: "a name whose newest version is REMOVED, or that has none, has no file",
    sql: `SELECT format('file_current %s: dir %s name %s is live, its newest version is %s', c.file_current_id, c.dir_id, c.name, coalesce(v.change::text, 'none')) AS row
      FROM file_current c LEFT JOIN (${newest}) v ON v.tenant_id = c.tenant_id AND v.dir_id = c.dir_id AND v.name = c.name
      JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id
      WHERE c.tenant_id = $1 AND c.missing_since_scan_id IS NULL AND c.metadata_complete AND NOT d.history_dirty AND (v.change IS NULL OR v.change = 'R')`,
  },
  {
    name: "missing-directory",
    holds: "a directory that is missing has no live file",
    sql: `SELECT format('dir %s %s: file_current %s is live', d.dir_id, d.dir_path, c.file_current_id) AS row FROM dir d
      JOIN file_current c ON c.tenant_id = d.tenant_id AND c.dir_id = d.dir_id AND c.missing_since_scan_id IS NULL
      WHERE d.tenant_id = $1 AND c.tenant_id = $1 AND d.missing_since_scan_id IS NOT NULL`,
  },
  {
    name: "ledger",
    holds: "each writer's committed chunks are 0 to its position, without a gap",
    sql: `SELECT format('scan %s writer %s: next chunk %s, %s in the ledger, highest %s', w.scan_id, w.writer, w.next_chunk_no, count(l.chunk_no), max(l.chunk_no)) AS row
      FROM scan_writer w LEFT JOIN ingest_chunk l ON l.tenant_id = w.tenant_id AND l.scan_id = w.scan_id AND l.writer = w.writer
      JOIN scan s ON s.tenant_id = w.tenant_id AND s.scan_id = w.scan_id
      WHERE w.tenant_id = $1 AND s.ledger_pruned_utc IS NULL
      GROUP BY w.scan_id, w.writer, w.next_chunk_no HAVING count(l.chunk_no) <> w.next_chunk_no OR coalesce(max(l.chunk_no), -1) <> w.next_chunk_no - 1`,
  },
  {
    name: "ledger-writer",
    holds: "every chunk of the ledger is of a writer",
    sql: `SELECT format('scan %s writer %s chunk %s', l.scan_id, l.writer, l.chunk_no) AS row FROM ingest_chunk l
      LEFT JOIN scan_writer w ON w.tenant_id = l.tenant_id AND w.scan_id = l.scan_id AND w.writer = l.writer
      WHERE l.tenant_id = $1 AND w.writer IS NULL`,
  },
  {
    name: "scan-counts",
    holds: "a scan's counts are what history has of it",
    sql: `SELECT format('scan %s: added %s, moved %s, changed %s; history has %s', s.scan_id, s.added, s.moved, s.changed, count(v.scan_id)) AS row
      FROM scan s LEFT JOIN file v ON v.tenant_id = s.tenant_id AND v.share_id = s.share_id AND v.scan_id = s.scan_id AND v.change <> 'R'
      WHERE s.tenant_id = $1 AND s.history_purged_utc IS NULL AND s.dirs_reconciled = 0 GROUP BY s.scan_id, s.added, s.moved, s.changed
      HAVING s.added + s.moved + s.changed <> count(v.scan_id)`,
  },
  {
    name: "scan-problems",
    holds: "a scan's counts of refused records and unreadable directories are what it lists",
    sql: `SELECT format('scan %s: refused %s, unreadable %s; listed %s', s.scan_id, s.refused, s.unreadable, count(p.scan_id)) AS row
      FROM scan s LEFT JOIN scan_problem p ON p.tenant_id = s.tenant_id AND p.scan_id = s.scan_id
      WHERE s.tenant_id = $1 AND s.problems_pruned_utc IS NULL GROUP BY s.scan_id, s.refused, s.unreadable
      HAVING count(*) FILTER (WHERE NOT p.unreadable) <> s.refused OR count(*) FILTER (WHERE p.unreadable) <> s.unreadable`,
  },
  {
    name: "share-last-scan",
    holds: "a share's last complete scan is its newest FULL scan that ended OK or WARN",
    sql: `SELECT format('share %s: last complete scan %s, newest %s', h.share_id, h.last_complete_scan_id, max(s.scan_id)) AS row
      FROM share h LEFT JOIN scan s ON s.tenant_id = h.tenant_id AND s.share_id = h.share_id AND s.mode = 'FULL' AND s.status IN ('OK', 'WARN')
      WHERE h.tenant_id = $1 GROUP BY h.share_id, h.last_complete_scan_id HAVING h.last_complete_scan_id IS DISTINCT FROM max(s.scan_id)`,
  },
  {
    name: "tier_object-file",
    holds: "a tier object's file is of its share",
    sql: `SELECT format('tier_object %s: file_current %s', t.tier_id, t.file_current_id) AS row FROM tier_object t
      LEFT JOIN file_current c ON c.tenant_id = t.tenant_id AND c.file_current_id = t.file_current_id AND c.share_id = t.share_id
      WHERE t.tenant_id = $1 AND c.file_current_id IS NULL`,
  },
  {
    name: "tier_object-wanted",
    holds: "what is planned is wanted to be stubbed, a lease is somebody's and of something wanted",
    sql: `SELECT format('tier_object %s: %s, wanted %s, lease of %s until %s', tier_id, state, wanted_action, lease_holder, lease_until_utc) AS row FROM tier_object
      WHERE tenant_id = $1 AND ((state = 'PLANNED' AND wanted_action IS DISTINCT FROM 'STUB')
        OR (lease_until_utc IS NOT NULL AND (wanted_action IS NULL OR lease_holder IS NULL OR lease_token IS NULL))
        OR (lease_until_utc IS NULL AND lease_holder IS NOT NULL))`,
  },
  {
    name: "tier_object-stub",
    holds: "of a tiered file it is known what it was, what its stub looks like, and where its content is",
    sql: `SELECT format('tier_object %s: planned size %s, stub of %s bytes, content at %s', tier_id, planned_size_bytes, stub_size_bytes, object_uri) AS row
      FROM tier_object WHERE tenant_id = $1 AND state = 'STUBBED' AND (planned_size_bytes IS NULL OR planned_mtime_unix IS NULL OR stub_size_bytes IS NULL
        OR stub_mtime_unix IS NULL OR object_uri IS NULL)`,
  },
  {
    name: "staging-empty",
    holds: "nothing is left in the permanent staging tables",
    sql: `SELECT format('staging_file %s', ordinal) AS row FROM public.staging_file WHERE tenant_id = $1
      UNION ALL SELECT format('staging_dir %s', dir_id) FROM public.staging_dir WHERE tenant_id = $1
      UNION ALL SELECT format('staging_diff %s', kind) FROM public.staging_diff WHERE tenant_id = $1`,
  },
  ...auditInvariants,
  ...plannerInvariants,
  ...warmingInvariants,
  ...retentionInvariants,
  ...webhookInvariants,
];
