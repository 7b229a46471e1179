/**
 * The statements of a segment's transaction, in their order. Each is one operation over all rows
 * of the segment; $1 is always the tenant.
 *
 * Two rules keep their plans good whatever the statistics say: file_current is reached only by
 * nested loops into its indexes (LATERAL ... OFFSET 0, and connections.ts rules out scans of whole
 * tables), and everything else joins staging tables, which are analyzed in each segment.
 */
import type { PoolClient } from "pg";
import { clockMarginSeconds } from "./reconcile.js";
import type { Problem } from "./segment.js";

/**
 * Claims the segment's directories for the scan: a scan lists a directory once. Returns the ids
 * that it got; the row locks make any other segment with one of them wait for this commit.
 */
export async function claimDirectories(client: PoolClient, tenantId: string, scanId: bigint): Promise<Set<bigint>> {
  const { rows } = await client.query<{ dir_id: bigint }>(
    `UPDATE dir d SET
       last_listed_scan_id = $2,
       last_seen_scan_id = CASE WHEN s.complete THEN $2 ELSE d.last_seen_scan_id END,
       listed_utc = CASE WHEN NOT s.complete THEN d.listed_utc WHEN scan.exact_list_times THEN s.listed_utc END,
       unreadable_scan_id = CASE WHEN s.unreadable THEN $2 ELSE d.unreadable_scan_id END,
       missing_since_scan_id = NULL
     FROM staging_dir s JOIN scan ON scan.tenant_id = s.tenant_id AND scan.scan_id = $2
     WHERE s.tenant_id = $1 AND scan.tenant_id = $1 AND d.tenant_id = s.tenant_id AND d.tenant_id = $1 AND d.dir_id = s.dir_id
       AND d.last_listed_scan_id IS DISTINCT FROM $2
     RETURNING d.dir_id`,
    [tenantId, scanId],
  );
  return new Set(rows.map((row) => row.dir_id));
}

/** True when no directory of the segment has ever had a file: then all that was listed is new, and there is nothing to compare. */
export async function isAllNew(client: PoolClient, tenantId: string): Promise<boolean> {
  // One look for each of the two partial indexes on (dir_id, name). Not LIMIT 1: it makes a scan that finds nothing look cheap.
  const { rows } = await client.query<{ known: boolean }>(
    `SELECT EXISTS (SELECT FROM staging_dir d CROSS JOIN LATERAL (
         SELECT FROM file_current WHERE tenant_id = $1 AND tenant_id = d.tenant_id AND dir_id = d.dir_id AND missing_since_scan_id IS NULL OFFSET 0
       ) live WHERE d.tenant_id = $1)
       OR EXISTS (SELECT FROM staging_dir d CROSS JOIN LATERAL (
         SELECT FROM file_current WHERE tenant_id = $1 AND tenant_id = d.tenant_id AND dir_id = d.dir_id AND missing_since_scan_id IS NOT NULL OFFSET 0
       ) missing WHERE d.tenant_id = $1) AS known`,
    [tenantId],
  );
  return rows[0]?.known === false;
}

/** appendSeen and insertAdded for a segment that is all new: straight from the staged rows. Returns how many files. */
export async function insertAllNew(
  client: PoolClient,
  tenantId: string,
  shareId: bigint,
  scanId: bigint,
  blocks: bigint[],
): Promise<number> {
  await client.query(
    `INSERT INTO file (tenant_id, share_id, dir_id, name, scan_id, change, link_count, file_current_id, size_bytes, allocated_bytes,
       atime_unix, mtime_unix, ctime_unix, frn, owner, file_hash)
     SELECT $1, $2, dir_id, name, $3, 'A', link_count, ($4::bigint[])[1 + ordinal / 65536] + ordinal % 65536, size_bytes, allocated_bytes,
       atime_unix, mtime_unix, ctime_unix, frn, owner, file_hash
     FROM staging_file WHERE tenant_id = $1 AND NOT refused`,
    [tenantId, shareId, scanId, blocks],
  );
  const { rowCount } = await client.query(
    `INSERT INTO file_current (tenant_id, file_current_id, share_id, dir_id, name, file_extension, link_count, size_bytes, allocated_bytes,
       atime_unix, scanned_atime_unix, mtime_unix, ctime_unix, frn, owner, file_hash, first_seen_scan_id)
     SELECT $1, ($4::bigint[])[1 + ordinal / 65536] + ordinal % 65536, $2, dir_id, name, file_extension, link_count, size_bytes,
       allocated_bytes, atime_unix, atime_unix, mtime_unix, ctime_unix, frn, owner, file_hash, $3
     FROM staging_file WHERE tenant_id = $1 AND NOT refused`,
    [tenantId, shareId, scanId, blocks],
  );
  return rowCount ?? 0;
}

/**
 * The one comparison of what was listed with what is known. A row of staging_diff for each
 * difference, and none for what agrees:
 *
 * | kind | what | file_current_id |
 * |---|---|---|
 * | A | a name that is not there | |
 * | C | the file of that name, changed | its row |
 * | X | another file has taken the name: number, and size or mtime, differ | the row of the file that was there |
 * | G | gone: a whole listing does not have it | its row |
 * | S | as it was, though an audit event had told of a write | its row |
 *
 * In the directories `guarded` nothing comes, goes or is replaced: see reconcile.ts. Nor is anything said of a file that may be
 * another than the one that was listed: one that an event brought to its name since, unless the number is the same.
 * A hash is only known where it was asked for: without one, that of the same size and times stays.
 */
export async function diff(client: PoolClient, tenantId: string, guarded: bigint[]): Promise<void> {
  await client.query(
    `INSERT INTO staging_diff (tenant_id, kind, ordinal, file_current_id, file_hash)
     SELECT $1, kind, ordinal, file_current_id, file_hash FROM (
       SELECT s.ordinal, c.file_current_id,
         CASE
           WHEN c.file_current_id IS NULL THEN CASE WHEN NOT s.refused AND s.dir_id <> ALL($2::bigint[]) THEN 'A'::"char" END
           WHEN s.ordinal IS NULL THEN CASE WHEN c.complete AND c.dir_id <> ALL($2::bigint[]) THEN 'G'::"char" END
           WHEN s.refused THEN NULL
           WHEN s.dir_id = ANY($2::bigint[]) AND (s.frn <> c.frn OR (c.restructured AND s.frn IS DISTINCT FROM c.frn)) THEN NULL
           WHEN s.dir_id <> ALL($2::bigint[]) AND s.frn <> c.frn AND (s.size_bytes IS DISTINCT FROM c.size_bytes OR s.mtime_unix IS DISTINCT FROM c.mtime_unix) THEN 'X'::"char"
           WHEN s.size_bytes IS DISTINCT FROM c.size_bytes OR s.mtime_unix IS DISTINCT FROM c.mtime_unix OR s.ctime_unix IS DISTINCT FROM c.ctime_unix
             OR s.atime_unix IS DISTINCT FROM c.scanned_atime_unix OR s.frn IS DISTINCT FROM c.frn OR s.owner IS DISTINCT FROM c.owner
             OR s.allocated_bytes IS DISTINCT FROM c.allocated_bytes OR s.link_count IS DISTINCT FROM c.link_count
             OR (s.file_hash IS NOT NULL AND s.file_hash IS DISTINCT FROM c.file_hash) THEN 'C'::"char"
           WHEN c.stale_metadata THEN 'S'::"char"
         END AS kind,
         coalesce(s.file_hash, CASE WHEN s.size_bytes = c.size_bytes AND s.mtime_unix = c.mtime_unix AND s.ctime_unix = c.ctime_unix THEN c.file_hash END) AS file_hash
       FROM (SELECT * FROM staging_file WHERE tenant_id = $1) s
       FULL JOIN (
         SELECT f.*, d.complete, coalesce(f.last_structural_event_utc > d.listed_utc - make_interval(secs => $3), false) AS restructured FROM staging_dir d
         CROSS JOIN LATERAL (
           SELECT tenant_id, file_current_id, dir_id, name, size_bytes, allocated_bytes, scanned_atime_unix, mtime_unix, ctime_unix, frn, owner, link_count, file_hash, stale_metadata, last_structural_event_utc
           FROM file_current
           WHERE tenant_id = $1 AND tenant_id = d.tenant_id AND dir_id = d.dir_id AND missing_since_scan_id IS NULL
           OFFSET 0
         ) f
         WHERE d.tenant_id = $1
       ) c ON c.tenant_id = s.tenant_id AND c.dir_id = s.dir_id AND c.name = s.name
     ) compared
     WHERE kind IS NOT NULL`,
    [tenantId, guarded, clockMarginSeconds],
  );
}

/**
 * Among the added, files that were missing and are back under their old path: kind B, with their
 * old row. The same number is the same file; failing a number on either side, the same size and mtime.
 */
export async function findReturned(client: PoolClient, tenantId: string): Promise<void> {
  await client.query(
    `UPDATE staging_diff a SET kind = 'B', file_current_id = back.file_current_id
     FROM staging_file s CROSS JOIN LATERAL (
       SELECT m.file_current_id FROM file_current m
       WHERE m.tenant_id = $1 AND m.tenant_id = s.tenant_id AND m.dir_id = s.dir_id AND m.name = s.name AND m.missing_since_scan_id IS NOT NULL
         AND (m.frn = s.frn OR (m.size_bytes = s.size_bytes AND m.mtime_unix = s.mtime_unix))
       ORDER BY m.frn IS NOT DISTINCT FROM s.frn DESC, m.missing_since_scan_id DESC, m.file_current_id DESC
       LIMIT 1
     ) back
     WHERE a.tenant_id = $1 AND a.kind = 'A' AND s.tenant_id = a.tenant_id AND s.ordinal = a.ordinal
       AND EXISTS (
         SELECT FROM staging_dir d CROSS JOIN LATERAL (
           SELECT FROM file_current m WHERE m.tenant_id = $1 AND m.tenant_id = d.tenant_id AND m.dir_id = d.dir_id AND m.missing_since_scan_id IS NOT NULL OFFSET 0
         ) any_missing WHERE d.tenant_id = $1)`,
    [tenantId],
  );
}

/** How many rows of each kind staging_diff has. */
export interface DiffCounts {
  added: number;
  returned: number;
  changed: number;
  replaced: number;
  gone: number;
  /** Rows that are only to be marked as known again. */
  confirmed: number;
  /** Directories whose history was brought in step with audit events. */
  reconciled: number;
}

export async function countDiff(client: PoolClient, tenantId: string): Promise<DiffCounts> {
  const { rows } = await client.query<{ kind: string; rows: bigint }>(
    "SELECT kind, count(*) AS rows FROM staging_diff WHERE tenant_id = $1 GROUP BY kind",
    [tenantId],
  );
  const of = (kind: string) => Number(rows.find((row) => row.kind === kind)?.rows ?? 0);
  return { added: of("A"), returned: of("B"), changed: of("C"), replaced: of("X"), gone: of("G"), confirmed: of("S"), reconciled: 0 };
}

/** A version of each file that is not as history has it, but in the directories `dirty`: see reconcile.ts. `$4` are the first ids of blocks of 65,536: see db/id-blocks.ts. */
export async function appendSeen(
  client: PoolClient,
  tenantId: string,
  shareId: bigint,
  scanId: bigint,
  blocks: bigint[],
  dirty: bigint[],
): Promise<void> {
  await client.query(
    `INSERT INTO file (tenant_id, share_id, dir_id, name, scan_id, change, link_count, file_current_id, size_bytes, allocated_bytes,
       atime_unix, mtime_unix, ctime_unix, frn, owner, file_hash)
     SELECT $1, $2, s.dir_id, s.name, $3, CASE WHEN d.kind IN ('A', 'B') THEN 'A'::"char" ELSE 'C'::"char" END, s.link_count,
       CASE WHEN d.kind IN ('A', 'X') THEN ($4::bigint[])[1 + s.ordinal / 65536] + s.ordinal % 65536 ELSE d.file_current_id END,
       s.size_bytes, s.allocated_bytes, s.atime_unix, s.mtime_unix, s.ctime_unix, s.frn, s.owner, d.file_hash
     FROM staging_diff d JOIN staging_file s ON s.tenant_id = d.tenant_id AND s.ordinal = d.ordinal
     WHERE d.tenant_id = $1 AND s.tenant_id = $1 AND d.kind NOT IN ('G', 'S') AND s.dir_id <> ALL($5::bigint[])`,
    [tenantId, shareId, scanId, blocks, dirty],
  );
}

/** The last version of each file that is gone repeats its last values. */
export async function appendGone(client: PoolClient, tenantId: string, shareId: bigint, scanId: bigint, dirty: bigint[]): Promise<void> {
  await client.query(
    `INSERT INTO file (tenant_id, share_id, dir_id, name, scan_id, change, link_count, file_current_id, size_bytes, allocated_bytes,
       atime_unix, mtime_unix, ctime_unix, frn, owner, file_hash)
     SELECT $1, $2, c.dir_id, c.name, $3, 'R', c.link_count, c.file_current_id, c.size_bytes, c.allocated_bytes,
       c.scanned_atime_unix, c.mtime_unix, c.ctime_unix, c.frn, c.owner, c.file_hash
     FROM staging_diff d CROSS JOIN LATERAL (
       SELECT * FROM file_current WHERE tenant_id = $1 AND tenant_id = d.tenant_id AND file_current_id = d.file_current_id OFFSET 0
     ) c
     WHERE d.tenant_id = $1 AND d.kind = 'G' AND c.dir_id <> ALL($4::bigint[])`,
    [tenantId, shareId, scanId, dirty],
  );
}

/** Files that are gone, and those whose name another file has taken. */
export async function markMissing(client: PoolClient, tenantId: string, scanId: bigint): Promise<void> {
  await client.query(
    `UPDATE file_current c SET missing_since_scan_id = $2, updated_utc = now()
     FROM staging_diff d
     WHERE d.tenant_id = $1 AND c.tenant_id = $1 AND c.tenant_id = d.tenant_id AND c.file_current_id = d.file_current_id AND d.kind IN ('G', 'X')`,
    [tenantId, scanId],
  );
}

/** The times of a file never go back by a scan: an access that an audit event told of stays. */
export async function updateChanged(client: PoolClient, tenantId: string): Promise<void> {
  await client.query(
    `UPDATE file_current c SET
       link_count = s.link_count, metadata_complete = true, stale_metadata = false, size_bytes = s.size_bytes, allocated_bytes = s.allocated_bytes,
       atime_unix = GREATEST(c.atime_unix, s.atime_unix), scanned_atime_unix = s.atime_unix, mtime_unix = s.mtime_unix, ctime_unix = s.ctime_unix,
       frn = s.frn, owner = s.owner, file_hash = d.file_hash, missing_since_scan_id = NULL, updated_utc = now(),
       last_accessed_source = CASE WHEN s.atime_unix > c.atime_unix OR c.atime_unix IS NULL THEN 'initial_scan' ELSE c.last_accessed_source END,
       atime_updated_utc = CASE WHEN s.atime_unix > c.atime_unix OR c.atime_unix IS NULL THEN now() ELSE c.atime_updated_utc END
     FROM staging_diff d JOIN staging_file s ON s.tenant_id = d.tenant_id AND s.ordinal = d.ordinal
     WHERE d.tenant_id = $1 AND s.tenant_id = $1 AND c.tenant_id = $1 AND c.tenant_id = d.tenant_id
       AND c.file_current_id = d.file_current_id AND d.kind IN ('C', 'B', 'S')`,
    [tenantId],
  );
}

export async function insertAdded(client: PoolClient, tenantId: string, shareId: bigint, scanId: bigint, blocks: bigint[]): Promise<void> {
  await client.query(
    `INSERT INTO file_current (tenant_id, file_current_id, share_id, dir_id, name, file_extension, link_count, size_bytes, allocated_bytes,
       atime_unix, scanned_atime_unix, mtime_unix, ctime_unix, frn, owner, file_hash, first_seen_scan_id)
     SELECT $1, ($4::bigint[])[1 + s.ordinal / 65536] + s.ordinal % 65536, $2, s.dir_id, s.name, s.file_extension, s.link_count, s.size_bytes,
       s.allocated_bytes, s.atime_unix, s.atime_unix, s.mtime_unix, s.ctime_unix, s.frn, s.owner, s.file_hash, $3
     FROM staging_diff d JOIN staging_file s ON s.tenant_id = d.tenant_id AND s.ordinal = d.ordinal
     WHERE d.tenant_id = $1 AND s.tenant_id = $1 AND d.kind IN ('A', 'X')`,
    [tenantId, shareId, scanId, blocks],
  );
}

export async function insertLedger(
  client: PoolClient,
  tenantId: string,
  scanId: bigint,
  writer: string,
  first: bigint,
  next: bigint,
): Promise<void> {
  await client.query(
    `INSERT INTO ingest_chunk (tenant_id, scan_id, writer, chunk_no)
     SELECT $1, $2, $3, chunk_no FROM generate_series($4::bigint, $5::bigint - 1) AS chunk_no`,
    [tenantId, scanId, writer, first, next],
  );
}

export async function insertProblems(
  client: PoolClient,
  tenantId: string,
  scanId: bigint,
  writer: string,
  problems: Problem[],
): Promise<void> {
  await client.query(
    `INSERT INTO scan_problem (tenant_id, scan_id, writer, chunk_no, ordinal, record_index, dir_path, name, reason, unreadable)
     SELECT $1, $2, $3, p.chunk_no, p.ordinal, p.record_index, p.dir_path, p.name, p.reason, p.unreadable
     FROM unnest($4::bigint[], $5::integer[], $6::integer[], $7::text[], $8::text[], $9::text[], $10::boolean[])
       AS p (chunk_no, ordinal, record_index, dir_path, name, reason, unreadable)`,
    [
      tenantId,
      scanId,
      writer,
      problems.map((p) => p.chunkNo),
      problems.map((_, at) => at),
      problems.map((p) => p.recordIndex),
      problems.map((p) => p.dirPath),
      problems.map((p) => p.name),
      problems.map((p) => p.reason),
      problems.map((p) => p.unreadable),
    ],
  );
}
