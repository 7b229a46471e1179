/**
 * Scans and audit events on the same directories. An event changes the current state and not the
 * history, and marks the directory `history_dirty`; the next whole listing of it brings history in
 * step. And a listing may be older than an event: then it says nothing of what came and went.
 */
import type { PoolClient } from "pg";
import type { ScanRow } from "./scans.js";

/** How far the clocks of agents and of the nodes that write audit trails may be apart. */
export const clockMarginSeconds = 120;

export interface EventMarks {
  /** Directories whose listing is not surely newer than the last structural event: their entries stay as they are. */
  guarded: bigint[];
  /** Directories, listed whole and not guarded, whose history does not agree with their current state. */
  dirty: bigint[];
}

/** What audit events have to say of the segment's directories. */
export async function readEventMarks(client: PoolClient, tenantId: string): Promise<EventMarks> {
  const { rows } = await client.query<{ dir_id: bigint; guarded: boolean; dirty: boolean }>(
    `SELECT dir_id, guarded, dirty AND complete AND NOT guarded AS dirty FROM (
       SELECT d.dir_id, s.complete, d.history_dirty AS dirty, coalesce(d.last_structural_event_utc > s.listed_utc - make_interval(secs => $2), false) AS guarded
       FROM staging_dir s JOIN dir d ON d.tenant_id = s.tenant_id AND d.dir_id = s.dir_id
       WHERE s.tenant_id = $1 AND d.tenant_id = $1 AND (d.history_dirty OR d.last_structural_event_utc IS NOT NULL)
     ) marks WHERE guarded OR dirty`,
    [tenantId, clockMarginSeconds],
  );
  return {
    guarded: rows.filter((row) => row.guarded).map((row) => row.dir_id),
    dirty: rows.filter((row) => row.dirty).map((row) => row.dir_id),
  };
}

/** Compares the directories' files, as they now are, with the newest versions; appends what is not as history has it; clears the marks. */
export async function reconcileHistory(
  client: PoolClient,
  tenantId: string,
  shareId: bigint,
  scanId: bigint,
  dirIds: bigint[],
): Promise<void> {
  await client.query(
    `INSERT INTO file (tenant_id, share_id, dir_id, name, scan_id, change, link_count, file_current_id, size_bytes, allocated_bytes,
       atime_unix, mtime_unix, ctime_unix, frn, owner, file_hash)
     SELECT $1, $2, c.dir_id, c.name, $3, CASE WHEN v.change IS NULL OR v.change = 'R' THEN 'A'::"char" ELSE 'C'::"char" END, c.link_count, c.file_current_id,
       c.size_bytes, c.allocated_bytes, c.scanned_atime_unix, c.mtime_unix, c.ctime_unix, c.frn, c.owner, c.file_hash
     FROM unnest($4::bigint[]) AS d (dir_id)
     CROSS JOIN LATERAL (
       SELECT * FROM file_current f WHERE f.tenant_id = $1 AND f.dir_id = d.dir_id AND f.missing_since_scan_id IS NULL AND f.metadata_complete OFFSET 0
     ) c
     LEFT JOIN LATERAL (
       SELECT * FROM file h WHERE h.tenant_id = $1 AND h.share_id = $2 AND h.dir_id = c.dir_id AND h.name = c.name ORDER BY h.scan_id DESC LIMIT 1
     ) v ON true
     WHERE v.change IS NULL OR v.change = 'R' OR v.file_current_id <> c.file_current_id
       OR (v.size_bytes, v.allocated_bytes, v.atime_unix, v.mtime_unix, v.ctime_unix, v.frn, v.owner, v.file_hash, v.link_count)
         IS DISTINCT FROM (c.size_bytes, c.allocated_bytes, c.scanned_atime_unix, c.mtime_unix, c.ctime_unix, c.frn, c.owner, c.file_hash, c.link_count)`,
    [tenantId, shareId, scanId, dirIds],
  );
  await appendGoneOfHistory(client, tenantId, shareId, scanId, dirIds);
  await client.query("UPDATE dir SET history_dirty = false WHERE tenant_id = $1 AND dir_id = ANY($2::bigint[])", [tenantId, dirIds]);
}

/** A REMOVED version for each name that history has in these directories and the current state does not. */
async function appendGoneOfHistory(
  client: PoolClient,
  tenantId: string,
  shareId: bigint,
  scanId: bigint,
  dirIds: bigint[],
): Promise<number> {
  const { rowCount } = await client.query(
    `INSERT INTO file (tenant_id, share_id, dir_id, name, scan_id, change, link_count, file_current_id, size_bytes, allocated_bytes,
       atime_unix, mtime_unix, ctime_unix, frn, owner, file_hash)
     SELECT $1, $2, v.dir_id, v.name, $3, 'R', v.link_count, v.file_current_id, v.size_bytes, v.allocated_bytes,
       v.atime_unix, v.mtime_unix, v.ctime_unix, v.frn, v.owner, v.file_hash
     FROM unnest($4::bigint[]) AS d (dir_id)
     CROSS JOIN LATERAL (
       SELECT DISTINCT ON (h.name) h.* FROM file h WHERE h.tenant_id = $1 AND h.share_id = $2 AND h.dir_id = d.dir_id ORDER BY h.name, h.scan_id DESC
     ) v
     WHERE v.change <> 'R' AND NOT EXISTS (
       SELECT FROM file_current c WHERE c.tenant_id = $1 AND c.dir_id = v.dir_id AND c.name = v.name AND c.missing_since_scan_id IS NULL)`,
    [tenantId, shareId, scanId, dirIds],
  );
  return rowCount ?? 0;
}

/**
 * At the end of a FULL scan: directories that an event moved or deleted, so that no listing will
 * ever bring their history in step. A batch of up to `limit`; returns how many.
 */
export async function reconcileLeft(client: PoolClient, tenantId: string, scan: ScanRow, limit: number): Promise<number> {
  const { rows } = await client.query<{ dir_id: bigint }>(
    `SELECT dir_id FROM dir WHERE tenant_id = $1 AND share_id = $2 AND history_dirty AND missing_since_scan_id IS NOT NULL
       AND last_listed_scan_id IS DISTINCT FROM $3 LIMIT $4`,
    [tenantId, scan.shareId, scan.scanId, limit],
  );
  if (rows.length === 0) return 0;
  const dirIds = rows.map((row) => row.dir_id);
  await appendGoneOfHistory(client, tenantId, scan.shareId, scan.scanId, dirIds);
  await client.query("UPDATE dir SET history_dirty = false WHERE tenant_id = $1 AND dir_id = ANY($2::bigint[])", [tenantId, dirIds]);
  await client.query("UPDATE scan SET dirs_reconciled = dirs_reconciled + $3 WHERE tenant_id = $1 AND scan_id = $2", [
    tenantId,
    scan.scanId,
    rows.length,
  ]);
  return rows.length;
}
