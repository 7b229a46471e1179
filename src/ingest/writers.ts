/** Writers of a scan: opening, fencing, and what they leave behind outside a segment. */
import type { ClientBase, Pool } from "pg";
import { inTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import type { SourceType } from "../paths.js";
import type { WriterRef } from "./commit-segment.js";
import * as limits from "./limits.js";
import { lockWriter } from "./locks.js";
import { BrakeHolds, chunkGap, scanClosed, scanNotFound } from "./scan-errors.js";

export interface OpenWriter {
  writer: WriterRef;
  nextChunkNo: bigint;
}

interface ScanRow {
  share_id: bigint;
  status: string;
  finishing: boolean;
  braked: bigint | null;
  /** Known where the brake holds. */
  brake_limit: bigint;
  src_type: SourceType;
  case_sensitive: boolean;
}

/** The first message of a stream. */
export interface OpenRequest {
  scanId: bigint;
  writer: string;
  /** What the client is about to send first. */
  nextChunkNo?: bigint | undefined;
}

/**
 * Opens a stream of a writer: waits for segments of its older streams to end, and fences those streams.
 * Throws NOT_FOUND, FAILED_PRECONDITION, INVALID_ARGUMENT; OUT_OF_RANGE when another number than `nextChunkNo` is next;
 * UNAVAILABLE while an older stream's segment does not end.
 */
export async function openWriter(pool: Pool, tenantId: string, open: OpenRequest): Promise<OpenWriter> {
  const opened = await fenceOlder(pool, tenantId, open);
  // After the commit: the older streams stay fenced, so that what GetScan tells next is settled.
  if (open.nextChunkNo !== undefined && open.nextChunkNo !== opened.nextChunkNo) {
    throw chunkGap(open.writer, opened.nextChunkNo, open.nextChunkNo);
  }
  return opened;
}

async function fenceOlder(pool: Pool, tenantId: string, { scanId, writer }: OpenRequest): Promise<OpenWriter> {
  if (writer.length === 0 || writer.length > 100 || writer.includes("\0")) {
    throw new DomainError("INVALID_ARGUMENT", "`open.writer` has 1 to 100 characters, and no NUL.", { reason: "BAD_WRITER" });
  }
  return inTenant(pool, tenantId, async (client) => {
    const scan = await readScan(client, tenantId, scanId);
    if (!scan) throw scanNotFound(scanId);
    if (scan.status !== "RUNNING") throw scanClosed(scanId, scan.status);
    if (scan.finishing) throw scanClosed(scanId, "finishing");
    if (scan.braked !== null) throw new BrakeHolds(scanId, scan.braked, scan.brake_limit);
    await lockWriter(client, scanId, writer, "exclusive");
    const position = await nextEpoch(client, tenantId, scanId, writer);
    const share = { tenantId, shareId: scan.share_id, srcType: scan.src_type, caseSensitive: scan.case_sensitive };
    return { writer: { share, scanId, writer, epoch: position.epoch }, nextChunkNo: position.next_chunk_no };
  });
}

async function readScan(client: ClientBase, tenantId: string, scanId: bigint): Promise<ScanRow | undefined> {
  const { rows } = await client.query<ScanRow>(
    `SELECT s.share_id, s.status, s.finishing_utc IS NOT NULL AS finishing, s.brake_limit,
       CASE WHEN s.brake_confirmed_utc IS NULL THEN s.brake_wanted END AS braked, h.src_type, h.case_sensitive
     FROM scan s JOIN share h ON h.tenant_id = s.tenant_id AND h.share_id = s.share_id
     WHERE s.tenant_id = $1 AND h.tenant_id = $1 AND s.scan_id = $2`,
    [tenantId, scanId],
  );
  return rows[0];
}

async function nextEpoch(
  client: ClientBase,
  tenantId: string,
  scanId: bigint,
  writer: string,
): Promise<{ epoch: bigint; next_chunk_no: bigint }> {
  const { rows: writers } = await client.query<{ others: bigint }>(
    "SELECT count(*) AS others FROM scan_writer WHERE tenant_id = $1 AND scan_id = $2 AND writer <> $3",
    [tenantId, scanId, writer],
  );
  if (Number(writers[0]?.others) >= limits.writersAtMost) {
    throw new DomainError("INVALID_ARGUMENT", `Scan ${scanId} has ${limits.writersAtMost} writers; that is the most.`, {
      reason: "TOO_MANY_WRITERS",
    });
  }
  const { rows } = await client.query<{ epoch: bigint; next_chunk_no: bigint }>(
    `INSERT INTO scan_writer (tenant_id, scan_id, writer) VALUES ($1, $2, $3)
     ON CONFLICT (tenant_id, scan_id, writer) DO UPDATE SET epoch = scan_writer.epoch + 1
     RETURNING epoch, next_chunk_no`,
    [tenantId, scanId, writer],
  );
  return rows[0] as { epoch: bigint; next_chunk_no: bigint };
}

/** The brake rolled its segment back; that it did is kept, so that an operator can see and confirm it. */
export async function recordBrake(pool: Pool, tenantId: string, { scanId, wanted, limit }: BrakeHolds): Promise<void> {
  await inTenant(pool, tenantId, (client) =>
    client.query(
      "UPDATE scan SET brake_wanted = $3, brake_limit = $4 WHERE tenant_id = $1 AND scan_id = $2 AND brake_confirmed_utc IS NULL",
      [tenantId, scanId, wanted, limit],
    ),
  );
}

/** Counts chunks that came again. A figure for people: nothing depends on it. */
export async function addRepeated(pool: Pool, writer: WriterRef, chunks: bigint): Promise<void> {
  await inTenant(pool, writer.share.tenantId, (client) =>
    client.query("UPDATE scan SET repeated_chunks = repeated_chunks + $3 WHERE tenant_id = $1 AND scan_id = $2", [
      writer.share.tenantId,
      writer.scanId,
      chunks,
    ]),
  );
}
