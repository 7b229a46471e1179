/** What a segment's transaction does last: the ledger, the writer's position, the scan's counts. */
import type { PoolClient } from "pg";
import { fixLimit, limitOfSeen } from "./brake.js";
import type { WriterRef } from "./commit-segment.js";
import { movesCountedAtMost } from "./limits.js";
import * as merge from "./merge.js";
import { countMoving } from "./moves.js";
import { BrakeHolds, fenced, scanNotFound } from "./scan-errors.js";
import type { Segment } from "./segment.js";

/** What a segment brought. */
export interface Merged {
  counts: merge.DiffCounts;
  files: bigint;
  sizeBytes: string;
  /** Some of what was listed is not taken for new, since newer events may have removed it. */
  guarded: boolean;
}

/** Ledger, position and counts. They lock rows that the writer's other segments, and other writers, need: so last. */
export async function advance(client: PoolClient, writer: WriterRef, segment: Segment, merged: Merged): Promise<void> {
  const { scanId, share } = writer;
  const { firstChunkNo, nextChunkNo, problems } = segment;
  await advanceWriter(client, writer, segment);
  await merge.insertLedger(client, share.tenantId, scanId, writer.writer, firstChunkNo, nextChunkNo);
  if (problems.length > 0) await merge.insertProblems(client, share.tenantId, scanId, writer.writer, problems);
  await addToScan(client, writer, segment, merged);
}

/** The fence and the order in one: only the newest stream of the writer, and only the next chunk. */
async function advanceWriter(client: PoolClient, writer: WriterRef, segment: Segment): Promise<void> {
  const { rowCount } = await client.query(
    `UPDATE scan_writer SET next_chunk_no = $5, resume_token = $6
     WHERE tenant_id = $1 AND scan_id = $2 AND writer = $3 AND epoch = $4 AND next_chunk_no = $7`,
    [writer.share.tenantId, writer.scanId, writer.writer, writer.epoch, segment.nextChunkNo, segment.resumeToken, segment.firstChunkNo],
  );
  if (rowCount !== 1) throw fenced(writer.scanId, writer.writer);
}

/**
 * Adds the segment to the scan's counts, unless more would be missing than the brake allows. A file that has come up elsewhere already is not
 * missing: the end of the scan matches it. Looked at only when there are too many without, and not in a scan of very many.
 */
async function addToScan(client: PoolClient, writer: WriterRef, segment: Segment, merged: Merged): Promise<void> {
  const { scanId, share } = writer;
  const fix = () => fixLimit(client, share.tenantId, scanId, { added: addedOf(merged), gone: goneOf(merged) });
  // Its counts do not say which files were there before: none of them may make the limit higher.
  if (merged.guarded) await fix();
  if (await addCounts(client, writer, segment, merged, 0n)) return;
  const limit = await fix();
  if (await addCounts(client, writer, segment, merged, 0n)) return;
  const { rows } = await client.query<{ gone: bigint; added: bigint }>(
    "SELECT gone, added FROM scan WHERE tenant_id = $1 AND scan_id = $2",
    [share.tenantId, scanId],
  );
  const scan = rows[0];
  if (!scan) throw scanNotFound(scanId);
  const gone = scan.gone + goneOf(merged);
  const isFew = gone + scan.added + BigInt(merged.counts.added) <= movesCountedAtMost;
  const moving = isFew ? await countMoving(client, share.tenantId, share.shareId, scanId) : 0n;
  if (moving > 0n && (await addCounts(client, writer, segment, merged, moving))) return;
  throw new BrakeHolds(scanId, gone - moving, limit);
}

/** Files that were not live before. */
function addedOf({ counts }: Merged): bigint {
  return BigInt(counts.added + counts.returned + counts.replaced);
}

function goneOf({ counts }: Merged): bigint {
  return BigInt(counts.gone + counts.replaced);
}

/** False when the brake holds, though `moving` of the missing files are not. */
async function addCounts(client: PoolClient, writer: WriterRef, segment: Segment, merged: Merged, moving: bigint): Promise<boolean> {
  const { counts, files, sizeBytes } = merged;
  const unreadable = segment.problems.filter((problem) => problem.unreadable).length;
  const { rowCount } = await client.query(
    `UPDATE scan s SET dirs_listed = dirs_listed + $3, files_listed = files_listed + $4::bigint,
       bytes_listed = LEAST(bytes_listed + $5::numeric, 9223372036854775807)::bigint,
       added = added + $6::bigint, changed = changed + $7, gone = gone + $8::bigint, refused = refused + $9, unreadable = unreadable + $10,
       dirs_reconciled = dirs_reconciled + $11
     FROM share h
     WHERE s.tenant_id = $1 AND h.tenant_id = $1 AND s.scan_id = $2 AND h.share_id = s.share_id
       AND ($8::bigint = 0 OR s.brake_confirmed_utc IS NOT NULL
         OR s.gone + $8::bigint - $12::bigint <= coalesce(s.brake_limit, ${limitOfSeen("$4::bigint", "$6::bigint", "$8::bigint")}))`,
    [
      writer.share.tenantId,
      writer.scanId,
      segment.directories.size,
      files,
      sizeBytes,
      addedOf(merged),
      counts.changed,
      goneOf(merged),
      segment.problems.length - unreadable,
      unreadable,
      counts.reconciled,
      moving,
    ],
  );
  return rowCount === 1;
}
