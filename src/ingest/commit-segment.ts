/** The transaction of a segment: stage, claim, compare, write what differs, ledger, commit. */
import type { PoolClient } from "pg";
import { toDomainError } from "../db/errors.js";
import { takeFileBlocks } from "../db/id-blocks.js";
import { beginFor } from "../db/tenant.js";
import { inSpan } from "../tracing.js";
import { advance, type Merged } from "./advance.js";
import { plannedBy } from "./connections.js";
import type { ShareRef } from "./directories.js";
import { lockShare, lockWriter } from "./locks.js";
import * as merge from "./merge.js";
import { type SegmentDone, type SegmentPhase, segmentPhases } from "./observer.js";
import type { IngestContext } from "./push.js";
import { type EventMarks, readEventMarks, reconcileHistory } from "./reconcile.js";
import { fenced, scanClosed } from "./scan-errors.js";
import type { Segment } from "./segment.js";
import * as staging from "./staging.js";
import { Stopwatch } from "./stopwatch.js";
import { anyTiered, recognizeStubs } from "./stubs.js";

type SegmentContext = Pick<IngestContext, "connections" | "observer" | "tenantTurns">;

/** A writer's stream, as long as no newer one has opened. */
export interface WriterRef {
  share: ShareRef;
  scanId: bigint;
  writer: string;
  epoch: bigint;
}

/**
 * A segment on its way. Since a successor commits after it, it must never have to wait for what the successor
 * holds: so the successor takes each kind of lock only once the segment has.
 */
export interface SegmentInFlight {
  /** Settled once the segment holds its advisory locks, or never will. */
  locked: Promise<void>;
  /** Settled once the segment holds its directories' rows, or never will. */
  claimed: Promise<void>;
  committed: Promise<void>;
}

export const noPredecessor: SegmentInFlight = { locked: Promise.resolve(), claimed: Promise.resolve(), committed: Promise.resolve() };

/** A promise, and what settles it. */
function signal(): { reached: Promise<void>; reach: () => void } {
  let reach = (): void => {};
  const reached = new Promise<void>((resolve) => {
    reach = resolve;
  });
  return { reached, reach };
}

/**
 * Commits one segment, after `predecessor` has. May start while the segment still grows: then its
 * rows stream as they come. On any error nothing of it is stored, and the segment's rows fail with that error.
 * Rejects with ABORTED (a newer stream of the writer has opened), FAILED_PRECONDITION (the scan is not RUNNING, or the brake), UNAVAILABLE.
 */
export function commitSegment(context: SegmentContext, writer: WriterRef, segment: Segment, predecessor: SegmentInFlight): SegmentInFlight {
  const locked = signal();
  const claimed = signal();
  const attributes = { "frostline.tenant_id": writer.share.tenantId, "frostline.scan_id": String(writer.scanId) };
  const committed = inSpan("frostline.segment", attributes, (span) => {
    const started = transact(context, writer, segment, predecessor, locked.reach, claimed.reach);
    return started.finally(() => span.setAttribute("frostline.files", segment.rows.rowCount));
  }).finally(() => {
    locked.reach();
    claimed.reach();
  });
  // Whoever waits for the commit sees the error; a successor or a stream that has ended need not.
  committed.catch(() => {});
  return { locked: locked.reached, claimed: claimed.reached, committed };
}

async function transact(
  { connections, observer, tenantTurns }: SegmentContext,
  writer: WriterRef,
  segment: Segment,
  predecessor: SegmentInFlight,
  locked: () => void,
  claimed: () => void,
): Promise<void> {
  const watch = new Stopwatch<SegmentPhase>(segmentPhases);
  let client: PoolClient | undefined;
  let broken = true;
  try {
    client = await connections.acquire(writer.share.tenantId);
    await tenantTurns.beginMerge(writer.share.tenantId);
    watch.was("wait");
    await client.query(beginFor(writer.share.tenantId));
    const sent = await staging.copyStagingFile(client, segment.rows);
    watch.was("copy");
    // A request for a shared lock queues behind one for an exclusive lock, which waits for whoever has the lock already.
    await predecessor.locked;
    await lockShare(client, writer.share.shareId, "shared");
    await lockWriter(client, writer.scanId, writer.writer, "shared");
    locked();
    watch.was("wait");
    const twice = await checkStaged(client, writer, segment, sent);
    watch.was("diff");
    await predecessor.claimed;
    watch.was("wait");
    const listedBefore = await refuseListedBefore(client, writer, segment);
    claimed();
    if (twice) await refuseDuplicates(client, writer.share.tenantId, segment);
    const merged = await mergeSegment(client, writer, segment, twice || listedBefore, watch);
    watch.was("merge");
    await predecessor.committed;
    watch.was("wait");
    await advance(client, writer, segment, merged);
    await client.query("COMMIT");
    broken = false;
    watch.was("commit");
    observer.segmentDone(told(writer, segment, merged, watch));
  } catch (error) {
    const known = toDomainError(error);
    segment.rows.fail(known as Error);
    throw known;
  } finally {
    // After an error the connection is given up: a COPY may be half way, and closing it rolls back.
    if (client) connections.release(client, broken);
  }
}

/** Stages the directories, and looks whether all is there. Returns whether a directory has a name twice. */
async function checkStaged(client: PoolClient, writer: WriterRef, segment: Segment, sent: number): Promise<boolean> {
  const { tenantId } = writer.share;
  await assertOpen(client, writer);
  await assertStaged(client, tenantId, sent, segment.rows.rowCount);
  await staging.insertStagingDir(client, tenantId, [...segment.directories.values()]);
  await client.query(`ANALYZE staging_file (${plannedBy.join(", ")}), staging_dir`);
  return segment.mayRepeatNames && staging.anyNameTwice(client, tenantId);
}

async function mergeSegment(
  client: PoolClient,
  writer: WriterRef,
  segment: Segment,
  dropped: boolean,
  watch: Stopwatch<SegmentPhase>,
): Promise<Merged> {
  const { tenantId } = writer.share;
  const marks = await readEventMarks(client, tenantId);
  const tiered = await anyTiered(client, writer.share);
  const unmarked = marks.guarded.length + marks.dirty.length === 0;
  const counts =
    // Where nothing was known before, there may be stubs that moved there.
    unmarked && !tiered && (await merge.isAllNew(client, tenantId))
      ? await writeAllNew(client, writer, segment.rows.rowCount, watch)
      : await writeDifferences(client, writer, segment.rows.rowCount, marks, tiered, watch);
  return { counts, guarded: marks.guarded.length > 0, ...(dropped ? await staging.countStaged(client, tenantId) : segment.accepted) };
}

/** For the observer: a file that took another's place is new, and the other one missing. */
function told(writer: WriterRef, segment: Segment, { counts, files }: Merged, watch: Stopwatch<SegmentPhase>): SegmentDone {
  const added = counts.added + counts.returned + counts.replaced;
  return {
    scanId: writer.scanId,
    writer: writer.writer,
    files: Number(files),
    directories: segment.directories.size,
    problems: segment.problems,
    added,
    changed: counts.changed,
    unchanged: Math.max(0, Number(files) - added - counts.changed),
    missing: counts.gone + counts.replaced,
    seconds: watch.seconds,
  };
}

async function writeAllNew(client: PoolClient, writer: WriterRef, rows: number, watch: Stopwatch<SegmentPhase>): Promise<merge.DiffCounts> {
  const { tenantId, shareId } = writer.share;
  watch.was("diff");
  const blocks = rows > 0 ? await takeFileBlocks(client, rows) : [];
  const added = rows > 0 ? await merge.insertAllNew(client, tenantId, shareId, writer.scanId, blocks) : 0;
  return { added, returned: 0, changed: 0, replaced: 0, gone: 0, confirmed: 0, reconciled: 0 };
}

async function writeDifferences(
  client: PoolClient,
  writer: WriterRef,
  rows: number,
  marks: EventMarks,
  tiered: boolean,
  watch: Stopwatch<SegmentPhase>,
): Promise<merge.DiffCounts> {
  const { scanId } = writer;
  const { tenantId, shareId } = writer.share;
  await merge.diff(client, tenantId, marks.guarded);
  if (tiered) await recognizeStubs(client, writer.share, scanId);
  await merge.findReturned(client, tenantId);
  await client.query("ANALYZE staging_diff");
  const counts = await merge.countDiff(client, tenantId);
  watch.was("diff");
  const added = counts.added + counts.replaced;
  const blocks = added > 0 ? await takeFileBlocks(client, rows) : [];
  if (added + counts.changed + counts.returned > 0) await merge.appendSeen(client, tenantId, shareId, scanId, blocks, marks.dirty);
  if (counts.gone > 0) await merge.appendGone(client, tenantId, shareId, scanId, marks.dirty);
  if (counts.gone + counts.replaced > 0) await merge.markMissing(client, tenantId, scanId);
  if (counts.changed + counts.returned + counts.confirmed > 0) await merge.updateChanged(client, tenantId);
  if (added > 0) await merge.insertAdded(client, tenantId, shareId, scanId, blocks);
  if (marks.dirty.length > 0) await reconcileHistory(client, tenantId, shareId, scanId, marks.dirty);
  return { ...counts, reconciled: marks.dirty.length };
}

/** Under the share's and the writer's lock: the stream is still the writer's newest, and the scan takes chunks. */
async function assertOpen(client: PoolClient, writer: WriterRef): Promise<void> {
  const { rows } = await client.query<{ epoch: bigint; status: string; finishing: boolean }>(
    `SELECT w.epoch, s.status, s.finishing_utc IS NOT NULL AS finishing
     FROM scan_writer w JOIN scan s ON s.tenant_id = w.tenant_id AND s.scan_id = w.scan_id
     WHERE w.tenant_id = $1 AND s.tenant_id = $1 AND w.scan_id = $2 AND w.writer = $3`,
    [writer.share.tenantId, writer.scanId, writer.writer],
  );
  const row = rows[0];
  if (row === undefined || row.epoch !== writer.epoch) throw fenced(writer.scanId, writer.writer);
  if (row.status !== "RUNNING") throw scanClosed(writer.scanId, row.status);
  if (row.finishing) throw scanClosed(writer.scanId, "finishing");
}

/** A staging table that was not shadowed would hold other rows too, or keep them: stop before anything is merged from it. */
async function assertStaged(client: PoolClient, tenantId: string, copied: number, sent: number): Promise<void> {
  const staged = await staging.countRows(client, tenantId, copied);
  if (staged !== BigInt(sent) || copied !== sent)
    throw new Error(`staging_file holds ${staged} rows, COPY took ${copied}, sent were ${sent}`);
}

/** Returns whether there were any. */
async function refuseListedBefore(client: PoolClient, writer: WriterRef, segment: Segment): Promise<boolean> {
  const claimed = await merge.claimDirectories(client, writer.share.tenantId, writer.scanId);
  if (claimed.size === segment.directories.size) return false;
  const refused = [...segment.directories.values()].filter((directory) => !claimed.has(directory.dirId));
  await staging.dropStaged(
    client,
    writer.share.tenantId,
    refused.map((directory) => directory.dirId),
  );
  for (const directory of refused) {
    segment.refuseDirectory(directory, "listing refused: this scan has listed the directory before");
    segment.directories.delete(directory.dirId);
  }
  return true;
}

async function refuseDuplicates(client: PoolClient, tenantId: string, segment: Segment): Promise<void> {
  for (const { dirId, name } of await staging.dropDuplicates(client, tenantId)) {
    const directory = segment.directories.get(dirId);
    if (!directory) throw new Error(`staging_file has rows of directory ${dirId}, which the segment does not have`);
    segment.problems.push({
      kind: "duplicate",
      chunkNo: directory.chunkNo,
      recordIndex: -1,
      dirPath: directory.path,
      name,
      reason: "the directory has this name twice; the first record counts",
      unreadable: false,
    });
  }
}
