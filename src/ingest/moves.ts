/**
 * Files that left one path and came up under another within one scan: the row that went keeps its
 * identity and takes the new path; the row that the scan added gives way.
 *
 * Told by the file reference number, and, unless the source never uses a number twice, by size and
 * mtime too: on ext4 a new file gets the inode number of the one deleted before it.
 */
import type { PoolClient } from "pg";
import type { ScanRow } from "./scans.js";

export interface Moves {
  files: number;
  /** Those of them that the scan had counted as gone. */
  counted: number;
}

/** True when a file may have left a path: missing since this scan, or live in a directory of staging_dir. Most scans have none. */
export async function anyLeft(client: PoolClient, tenantId: string, scan: ScanRow): Promise<boolean> {
  const { rows } = await client.query<{ left: boolean }>(
    `SELECT EXISTS (SELECT FROM file_current WHERE tenant_id = $1 AND share_id = $2 AND missing_since_scan_id = $3)
       OR EXISTS (SELECT FROM staging_dir v CROSS JOIN LATERAL (
         SELECT FROM file_current WHERE tenant_id = $1 AND tenant_id = v.tenant_id AND dir_id = v.dir_id AND missing_since_scan_id IS NULL OFFSET 0
       ) live WHERE v.tenant_id = $1) AS "left"`,
    [tenantId, scan.shareId, scan.scanId],
  );
  return rows[0]?.left === true;
}

/**
 * Pairs up to `limit` files into staging_diff as kind M: file_current_id is the row that stays,
 * other_file_current_id the one that gives way, dir_id and name where this scan saw it. Candidates that went: missing since this scan, or
 * live in a directory of staging_dir. Candidates that came: rows this scan added.
 */
export async function pairMoved(client: PoolClient, tenantId: string, scan: ScanRow, limit: number): Promise<Moves> {
  const { rows } = await client.query<{ files: bigint; counted: bigint }>(
    `WITH went AS (
       SELECT o.tenant_id, o.file_current_id, o.frn, o.size_bytes, o.mtime_unix, o.file_hash, true AS missing, o.dir_id, o.name
       FROM file_current o WHERE o.tenant_id = $1 AND o.share_id = $2 AND o.missing_since_scan_id = $3 AND o.frn IS NOT NULL
       UNION ALL
       SELECT v.tenant_id, o.file_current_id, o.frn, o.size_bytes, o.mtime_unix, o.file_hash, false, o.dir_id, o.name
       FROM staging_dir v CROSS JOIN LATERAL (
         SELECT * FROM file_current f
         WHERE f.tenant_id = $1 AND f.tenant_id = v.tenant_id AND f.dir_id = v.dir_id AND f.missing_since_scan_id IS NULL AND f.frn IS NOT NULL OFFSET 0
       ) o WHERE v.tenant_id = $1
     ), came AS (
       SELECT n.tenant_id, n.file_current_id, n.frn, n.size_bytes, n.mtime_unix, h.dir_id, h.name
       FROM file h CROSS JOIN LATERAL (
         SELECT * FROM file_current f
         WHERE f.tenant_id = $1 AND f.tenant_id = h.tenant_id AND f.file_current_id = h.file_current_id
           AND f.first_seen_scan_id = $3 AND f.missing_since_scan_id IS NULL OFFSET 0
       ) n
       WHERE h.tenant_id = $1 AND h.share_id = $2 AND h.scan_id = $3 AND h.change IN ('A', 'C') AND h.frn IN (SELECT frn FROM went)
         AND NOT EXISTS (SELECT FROM tier_object t WHERE t.tenant_id = $1 AND t.tenant_id = n.tenant_id AND t.file_current_id = n.file_current_id)
     ), went_numbered AS (
       SELECT *, row_number() OVER (PARTITION BY frn, CASE WHEN NOT $4 THEN size_bytes END, CASE WHEN NOT $4 THEN mtime_unix END ORDER BY dir_id, name) AS nth FROM went
     ), came_numbered AS (
       SELECT *, row_number() OVER (PARTITION BY frn, CASE WHEN NOT $4 THEN size_bytes END, CASE WHEN NOT $4 THEN mtime_unix END ORDER BY dir_id, name) AS nth FROM came
     ), paired AS (
       INSERT INTO staging_diff (tenant_id, kind, file_current_id, other_file_current_id, file_hash, ordinal, dir_id, name)
       SELECT $1, 'M', w.file_current_id, c.file_current_id, w.file_hash, CASE WHEN w.missing THEN 1 ELSE 0 END, c.dir_id, c.name
       FROM went_numbered w JOIN came_numbered c ON c.tenant_id = w.tenant_id AND c.frn = w.frn AND c.nth = w.nth
       WHERE $4 OR (c.size_bytes = w.size_bytes AND c.mtime_unix = w.mtime_unix)
       LIMIT $5
       RETURNING ordinal
     )
     SELECT count(*) AS files, count(*) FILTER (WHERE ordinal = 1) AS counted FROM paired`,
    [tenantId, scan.shareId, scan.scanId, scan.uniqueFrn, limit],
  );
  const pairs = rows[0] as { files: bigint; counted: bigint };
  return { files: Number(pairs.files), counted: Number(pairs.counted) };
}

/**
 * How many files that are missing since this scan `pairMoved` would pair with what the scan has listed so far: the same rule, in any of its
 * segments. Counted side by side, without a join: of the two, whatever is joined first has no statistics. Looks at each of them.
 */
export async function countMoving(client: PoolClient, tenantId: string, shareId: bigint, scanId: bigint): Promise<bigint> {
  const { rows } = await client.query<{ files: bigint }>(
    `SELECT coalesce(sum(least(went, came)), 0)::bigint AS files FROM (
       SELECT count(*) FILTER (WHERE has_left) AS went, count(*) FILTER (WHERE NOT has_left) AS came FROM (
         SELECT frn, size_bytes, mtime_unix, true AS has_left FROM file_current
         WHERE tenant_id = $1 AND share_id = $2 AND missing_since_scan_id = $3 AND frn IS NOT NULL
         UNION ALL
         SELECT n.frn, n.size_bytes, n.mtime_unix, false FROM file h CROSS JOIN LATERAL (
           SELECT * FROM file_current f
           WHERE f.tenant_id = $1 AND f.tenant_id = h.tenant_id AND f.file_current_id = h.file_current_id
             AND f.first_seen_scan_id = $3 AND f.missing_since_scan_id IS NULL AND f.frn IS NOT NULL
             AND NOT EXISTS (SELECT FROM tier_object t WHERE t.tenant_id = $1 AND t.tenant_id = f.tenant_id AND t.file_current_id = f.file_current_id)
           OFFSET 0
         ) n
         WHERE h.tenant_id = $1 AND h.share_id = $2 AND h.scan_id = $3 AND h.change IN ('A', 'C')
       ) file, (SELECT unique_frn FROM scan WHERE tenant_id = $1 AND scan_id = $3) s
       GROUP BY frn, CASE WHEN NOT unique_frn THEN size_bytes END, CASE WHEN NOT unique_frn THEN mtime_unix END
     ) paired`,
    [tenantId, shareId, scanId],
  );
  return (rows[0] as { files: bigint }).files;
}

/** Carries the pairs of staging_diff out, in history and in the current state. */
export async function adoptMoves(client: PoolClient, tenantId: string, scan: ScanRow): Promise<void> {
  await client.query("ANALYZE staging_diff");
  await appendLeft(client, tenantId, scan);
  await relabel(client, tenantId, scan);
  await mergeRows(client, tenantId);
}

/** A file that was still live under its old path gets its REMOVED version there. */
async function appendLeft(client: PoolClient, tenantId: string, scan: ScanRow): Promise<void> {
  await client.query(
    `INSERT INTO file (tenant_id, share_id, dir_id, name, scan_id, change, link_count, file_current_id, size_bytes, allocated_bytes,
       atime_unix, mtime_unix, ctime_unix, frn, owner, file_hash)
     SELECT $1, $2, o.dir_id, o.name, $3, 'R', o.link_count, o.file_current_id, o.size_bytes, o.allocated_bytes,
       o.scanned_atime_unix, o.mtime_unix, o.ctime_unix, o.frn, o.owner, o.file_hash
     FROM staging_diff m CROSS JOIN LATERAL (
       SELECT * FROM file_current WHERE tenant_id = $1 AND tenant_id = m.tenant_id AND file_current_id = m.file_current_id OFFSET 0
     ) o
     WHERE m.tenant_id = $1 AND m.kind = 'M' AND m.ordinal = 0`,
    [tenantId, scan.shareId, scan.scanId],
  );
}

/** This scan's version under the new path is the old file's, and so are the accesses that were logged of it since. */
async function relabel(client: PoolClient, tenantId: string, scan: ScanRow): Promise<void> {
  const { rows } = await client.query<{ adopted: bigint; pairs: bigint }>(
    `SELECT adopt_identity($1, $2, $3, array_agg(dir_id), array_agg(name::text), array_agg(file_current_id), array_agg(file_hash)) AS adopted, count(*) AS pairs
     FROM staging_diff WHERE tenant_id = $1 AND kind = 'M'`,
    [tenantId, scan.shareId, scan.scanId],
  );
  const { adopted, pairs } = rows[0] as { adopted: bigint; pairs: bigint };
  if (adopted !== pairs) throw new Error(`scan ${scan.scanId}: ${pairs} files moved, but history has ${adopted} versions of them`);
}

/**
 * The deletion feeds the update: a path is free before its file takes it. What audit events told of the row that gives way, since the scan
 * saw it, goes on being so: how its access is known, a write, another move. test/moves-and-audit.test.ts.
 */
async function mergeRows(client: PoolClient, tenantId: string): Promise<void> {
  await client.query(
    `WITH gave_way AS (
       DELETE FROM file_current n USING staging_diff m
       WHERE m.tenant_id = $1 AND n.tenant_id = $1 AND n.tenant_id = m.tenant_id AND n.file_current_id = m.other_file_current_id AND m.kind = 'M'
       RETURNING n.*, m.file_current_id AS kept_id
     )
     UPDATE file_current o SET
       dir_id = n.dir_id, name = n.name, file_extension = n.file_extension, link_count = n.link_count, metadata_complete = true, stale_metadata = n.stale_metadata,
       size_bytes = n.size_bytes, allocated_bytes = n.allocated_bytes, atime_unix = GREATEST(o.atime_unix, n.atime_unix),
       scanned_atime_unix = n.scanned_atime_unix, mtime_unix = n.mtime_unix, ctime_unix = n.ctime_unix, frn = n.frn, owner = n.owner,
       file_hash = coalesce(n.file_hash, o.file_hash), missing_since_scan_id = NULL, updated_utc = now(),
       last_accessed_source = CASE WHEN n.atime_unix > o.atime_unix OR o.atime_unix IS NULL THEN n.last_accessed_source ELSE o.last_accessed_source END,
       atime_updated_utc = CASE WHEN n.atime_unix > o.atime_unix OR o.atime_unix IS NULL THEN n.atime_updated_utc ELSE o.atime_updated_utc END,
       last_structural_event_utc = GREATEST(o.last_structural_event_utc, n.last_structural_event_utc)
     FROM gave_way n WHERE o.tenant_id = $1 AND o.tenant_id = n.tenant_id AND o.file_current_id = n.kept_id`,
    [tenantId],
  );
}
