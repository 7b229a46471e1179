/**
 * Scans as a whole: start, look, confirm, abort. How one ends is in finish.ts.
 *
 * RUNNING -> OK | WARN by FinishScan, RUNNING -> ABANDONED by AbortScan; a RUNNING scan with
 * finishing_utc takes no more chunks. Only one scan of a share is RUNNING at a time.
 */
import type { ClientBase, Pool } from "pg";
import { sqlState } from "../db/errors.js";
import { inTenant, readTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { scanClosed, scanNotFound, scanRunning } from "./scan-errors.js";

export type ScanMode = "FULL" | "PARTIAL";
export type ScanStatus = "RUNNING" | "OK" | "WARN" | "ERROR" | "ABANDONED";

/** A row of scan, with the name of its share. */
export interface ScanRow {
  scanId: bigint;
  shareId: bigint;
  shareName: string;
  mode: ScanMode;
  status: ScanStatus;
  uniqueFrn: boolean;
  exactListTimes: boolean;
  startedUtc: Date;
  finishingUtc: Date | null;
  finishedUtc: Date | null;
  dirsListed: bigint;
  filesListed: bigint;
  bytesListed: bigint;
  added: bigint;
  changed: bigint;
  gone: bigint;
  moved: bigint;
  refused: bigint;
  unreadable: bigint;
  repeatedChunks: bigint;
  /** Null: it was never near. */
  brakeLimit: bigint | null;
  /** The share's. */
  brakePercent: number;
  /** Set while, or since, the brake has held the scan. */
  brakeWanted: bigint | null;
  brakeConfirmedUtc: Date | null;
}

export interface WriterPosition {
  writer: string;
  nextChunkNo: bigint;
  resumeToken: Uint8Array;
}

export interface ProblemRow {
  writer: string;
  chunkNo: bigint;
  ordinal: number;
  recordIndex: number;
  dirPath: string;
  name: string;
  reason: string;
  unreadable: boolean;
}

const selectScan = `SELECT s.scan_id AS "scanId", s.share_id AS "shareId", h.share_name AS "shareName", s.mode, s.status, s.unique_frn AS "uniqueFrn", s.exact_list_times AS "exactListTimes",
  s.started_utc AS "startedUtc", s.finishing_utc AS "finishingUtc", s.finished_utc AS "finishedUtc", s.dirs_listed AS "dirsListed",
  s.files_listed AS "filesListed", s.bytes_listed AS "bytesListed", s.added, s.changed, s.gone, s.moved, s.refused, s.unreadable,
  s.repeated_chunks AS "repeatedChunks", s.brake_limit AS "brakeLimit", h.brake_percent AS "brakePercent", s.brake_wanted AS "brakeWanted", s.brake_confirmed_utc AS "brakeConfirmedUtc"
  FROM scan s JOIN share h ON h.tenant_id = s.tenant_id AND h.share_id = s.share_id
  WHERE s.tenant_id = $1 AND h.tenant_id = $1`;

/** Throws NOT_FOUND when the tenant has no such share; FAILED_PRECONDITION when a scan of it is RUNNING. */
export async function startScan(
  pool: Pool,
  tenantId: string,
  start: { shareName: string; mode: ScanMode; uniqueFrn: boolean; exactListTimes: boolean },
): Promise<ScanRow> {
  try {
    return await inTenant(pool, tenantId, async (client) => {
      const { rows: shares } = await client.query<{ share_id: bigint; src_type: string }>(
        "SELECT share_id, src_type FROM share WHERE tenant_id = $1 AND share_name = $2",
        [tenantId, start.shareName],
      );
      const share = shares[0];
      if (!share) throw shareNotFound(start.shareName);
      const running = await findRunning(client, tenantId, share.share_id);
      if (running !== undefined) throw scanRunning(running, start.shareName);
      const { rows } = await client.query<{ scan_id: bigint }>(
        `INSERT INTO scan (tenant_id, share_id, src_type, mode, unique_frn, exact_list_times) VALUES ($1, $2, $3, $4, $5, $6)
         RETURNING scan_id`,
        [tenantId, share.share_id, share.src_type, start.mode, start.uniqueFrn, start.exactListTimes],
      );
      return readScan(client, tenantId, (rows[0] as { scan_id: bigint }).scan_id);
    });
  } catch (error) {
    if (sqlState(error) !== "23505") throw error;
    // Another StartScan of the share won between our look and our insert: meet its scan.
    return startScan(pool, tenantId, start);
  }
}

async function findRunning(client: ClientBase, tenantId: string, shareId: bigint): Promise<bigint | undefined> {
  const { rows } = await client.query<{ scan_id: bigint }>(
    "SELECT scan_id FROM scan WHERE tenant_id = $1 AND share_id = $2 AND status = 'RUNNING'",
    [tenantId, shareId],
  );
  return rows[0]?.scan_id;
}

/** Throws NOT_FOUND. With `FOR UPDATE` no other transaction changes the scan meanwhile. */
export async function readScan(client: ClientBase, tenantId: string, scanId: bigint, lock: "" | "FOR UPDATE OF s" = ""): Promise<ScanRow> {
  const { rows } = await client.query<ScanRow>(`${selectScan} AND s.scan_id = $2 ${lock}`, [tenantId, scanId]);
  if (!rows[0]) throw scanNotFound(scanId);
  return rows[0];
}

export async function getScan(pool: Pool, tenantId: string, scanId: bigint): Promise<{ scan: ScanRow; writers: WriterPosition[] }> {
  return readTenant(pool, tenantId, async (client) => {
    const scan = await readScan(client, tenantId, scanId);
    const { rows } = await client.query<{ writer: string; next_chunk_no: bigint; resume_token: Buffer }>(
      "SELECT writer, next_chunk_no, resume_token FROM scan_writer WHERE tenant_id = $1 AND scan_id = $2 ORDER BY writer",
      [tenantId, scanId],
    );
    return { scan, writers: rows.map((row) => ({ writer: row.writer, nextChunkNo: row.next_chunk_no, resumeToken: row.resume_token })) };
  });
}

/** Scans of a share, newest first, older than `before` (a scan id; undefined: from the newest). Throws NOT_FOUND for the share. */
export async function listScans(
  pool: Pool,
  tenantId: string,
  shareName: string,
  before: bigint | undefined,
  limit: number,
): Promise<ScanRow[]> {
  return readTenant(pool, tenantId, async (client) => {
    const { rowCount } = await client.query("SELECT FROM share WHERE tenant_id = $1 AND share_name = $2", [tenantId, shareName]);
    if (rowCount === 0) throw shareNotFound(shareName);
    const { rows } = await client.query<ScanRow>(
      `${selectScan} AND h.share_name = $2 AND ($3::bigint IS NULL OR s.scan_id < $3) ORDER BY s.scan_id DESC LIMIT $4`,
      [tenantId, shareName, before ?? null, limit],
    );
    return rows;
  });
}

/** Problems of a scan after the position `after`, in the order writer, chunk, ordinal. */
export async function listProblems(
  pool: Pool,
  tenantId: string,
  scanId: bigint,
  after: { writer: string; chunkNo: bigint; ordinal: number } | undefined,
  limit: number,
): Promise<ProblemRow[]> {
  return readTenant(pool, tenantId, async (client) => {
    await readScan(client, tenantId, scanId);
    const { rows } = await client.query<ProblemRow>(
      `SELECT writer, chunk_no AS "chunkNo", ordinal, record_index AS "recordIndex", dir_path AS "dirPath", name, reason, unreadable
       FROM scan_problem WHERE tenant_id = $1 AND scan_id = $2 AND ($3::text IS NULL OR (writer, chunk_no, ordinal) > ($3, $4::bigint, $5::integer))
       ORDER BY writer, chunk_no, ordinal LIMIT $6`,
      [tenantId, scanId, after?.writer ?? null, after?.chunkNo ?? null, after?.ordinal ?? null, limit],
    );
    return rows;
  });
}

/** Lets the scan mark as many files missing as it finds gone. Safe to repeat. Throws NOT_FOUND, FAILED_PRECONDITION (not RUNNING). */
export async function confirmBrake(pool: Pool, tenantId: string, scanId: bigint): Promise<ScanRow> {
  return inTenant(pool, tenantId, async (client) => {
    const scan = await readScan(client, tenantId, scanId, "FOR UPDATE OF s");
    if (scan.status !== "RUNNING") throw scanClosed(scanId, scan.status);
    await client.query("UPDATE scan SET brake_confirmed_utc = coalesce(brake_confirmed_utc, now()) WHERE tenant_id = $1 AND scan_id = $2", [
      tenantId,
      scanId,
    ]);
    return readScan(client, tenantId, scanId);
  });
}

function shareNotFound(shareName: string): DomainError {
  return new DomainError("NOT_FOUND", `There is no share ${JSON.stringify(shareName)}. Create it first.`, {
    reason: "SHARE_NOT_FOUND",
    metadata: { share_name: shareName },
  });
}
