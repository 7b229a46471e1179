/**
 * Directories that a FULL scan did not list: their files are gone, unless what is above them could not be read.
 *
 * Of a tenant that the statistics do not know yet every index promises one row, and a join may begin with all of its files: hence the order
 * by name, which only the index that has a directory's files together gives for nothing, and the ids as a parameter, which are compared by
 * a hash should all files be read after all.
 */
import type { PoolClient } from "pg";
import { plainArray } from "../db/array-literals.js";
import { clockMarginSeconds } from "./reconcile.js";
import type { ScanRow } from "./scans.js";

/** Puts the vanished directories into staging_dir, and analyzes it. */
export async function stageVanished(client: PoolClient, tenantId: string, scan: ScanRow): Promise<void> {
  await client.query(
    `WITH RECURSIVE protected AS (
       SELECT tenant_id, dir_id FROM dir WHERE tenant_id = $1 AND share_id = $2 AND unreadable_scan_id = $3
       UNION
       SELECT d.tenant_id, d.dir_id FROM protected p JOIN dir d ON d.tenant_id = p.tenant_id AND d.parent_dir_id = p.dir_id WHERE d.tenant_id = $1
     )
     INSERT INTO staging_dir (tenant_id, dir_id, complete, unreadable)
     SELECT d.tenant_id, d.dir_id, true, false FROM dir d
     WHERE d.tenant_id = $1 AND d.share_id = $2 AND d.last_listed_scan_id IS DISTINCT FROM $3 AND d.missing_since_scan_id IS NULL
       -- An audit event may have made it, or moved files into it, after the walk had passed.
       AND (d.last_structural_event_utc IS NULL OR d.last_structural_event_utc < $4::timestamptz - make_interval(secs => $5))
       AND NOT EXISTS (SELECT FROM protected p WHERE p.tenant_id = d.tenant_id AND p.dir_id = d.dir_id)`,
    [tenantId, scan.shareId, scan.scanId, scan.startedUtc, clockMarginSeconds],
  );
  await client.query("ANALYZE staging_dir");
}

export async function countLiveInVanished(client: PoolClient, tenantId: string): Promise<bigint> {
  const { rows } = await client.query<{ files: bigint }>(
    `SELECT count(*) AS files FROM staging_dir v CROSS JOIN LATERAL (
       SELECT FROM file_current c WHERE c.tenant_id = $1 AND c.dir_id = v.dir_id AND c.missing_since_scan_id IS NULL ORDER BY c.name OFFSET 0
     ) live WHERE v.tenant_id = $1`,
    [tenantId],
  );
  return (rows[0] as { files: bigint }).files;
}

/** Marks up to `limit` files of staged directories missing, with a REMOVED version each. Returns how many. */
export async function markBatchMissing(client: PoolClient, tenantId: string, scan: ScanRow, limit: number): Promise<number> {
  const { rows } = await client.query<{ file_current_id: bigint }>(
    `SELECT live.file_current_id FROM staging_dir v CROSS JOIN LATERAL (
       SELECT f.file_current_id FROM file_current f
       WHERE f.tenant_id = $1 AND f.dir_id = v.dir_id AND f.missing_since_scan_id IS NULL ORDER BY f.name OFFSET 0
     ) live WHERE v.tenant_id = $1 LIMIT $2`,
    [tenantId, limit],
  );
  if (rows.length === 0) return 0;
  // A name that this scan has a REMOVED version of, and an event filled again since, keeps that one.
  const marked = await client.query<{ files: bigint }>(
    `WITH gone AS (
       UPDATE file_current c SET missing_since_scan_id = $3, updated_utc = now()
       WHERE c.tenant_id = $1 AND c.file_current_id = ANY ($4::bigint[]) AND c.missing_since_scan_id IS NULL
       RETURNING c.*
     ), removed AS (
       INSERT INTO file (tenant_id, share_id, dir_id, name, scan_id, change, link_count, file_current_id, size_bytes, allocated_bytes,
         atime_unix, mtime_unix, ctime_unix, frn, owner, file_hash)
       SELECT tenant_id, $2, dir_id, name, $3, 'R', link_count, file_current_id, size_bytes, allocated_bytes,
         scanned_atime_unix, mtime_unix, ctime_unix, frn, owner, file_hash FROM gone
       ON CONFLICT DO NOTHING
     )
     SELECT count(*) AS files FROM gone`,
    [tenantId, scan.shareId, scan.scanId, plainArray(rows.map((row) => row.file_current_id))],
  );
  return Number(marked.rows[0]?.files);
}

export async function markVanishedDirectories(client: PoolClient, tenantId: string, scan: ScanRow): Promise<void> {
  await client.query(
    `UPDATE dir d SET missing_since_scan_id = $2 FROM staging_dir v
     WHERE v.tenant_id = $1 AND d.tenant_id = $1 AND d.tenant_id = v.tenant_id AND d.dir_id = v.dir_id`,
    [tenantId, scan.scanId],
  );
}
