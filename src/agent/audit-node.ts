/** Sends what is new in one node's files, in order. */
import type { AuditEvent } from "../gen/frostline/v1/audit_pb.js";
import { addCounts } from "./audit-counts.js";
import { type Line, type LineBatch, lineBytesAtMost, openAuditFile } from "./audit-file.js";
import { type AuditRun, addProblem, measure, measureFile, report } from "./audit-run.js";
import { type AuditSender, createAuditSender, type Sent } from "./audit-sender.js";
import { adoptCursor, adoptMovedCursor, type Cursors, foundAt, listCursors, settle, type TrackedFile } from "./audit-state.js";
import { findVolume, NoVolumeError } from "./audit-volume.js";
import { parseLine, refusedEvent } from "./lucidlink/parse.js";
import { RpcError } from "./rpc-error.js";

/** A file that can't be read holds back those after it, for their order; but not for ever. */
const holdsBackRounds = 3;
/** An operator may set cursors back while they are read; as often as this, something is wrong. */
const gapsAtMost = 3;

/** Whether files were held back for the next round, because one before them could not be read. Rejects with a final RpcError. */
export async function pushNode(run: AuditRun, files: TrackedFile[]): Promise<boolean> {
  for (let gaps = 0; ; ) {
    const sender = createAuditSender(run.client, {
      shareName: run.options.shareName,
      volumeId: () => run.volumeId,
      signal: run.signal,
      onCommitted: (counts) => {
        addCounts(run.round.counts, counts);
        run.retrier.progressed();
      },
    });
    try {
      return await pushFiles(run, files, sender);
    } catch (error) {
      if (error instanceof RpcError && error.code === "OUT_OF_RANGE" && gaps < gapsAtMost) gaps++;
      else await run.retrier.wait(error);
      await askAgain(run, files, sender.unacknowledged());
    } finally {
      sender.cancel();
    }
  }
}

/** Where the server is, after a stream that was not acknowledged. */
async function askAgain(run: AuditRun, files: TrackedFile[], unacknowledged: readonly Sent[]): Promise<void> {
  const cursors = await run.retrier.run(() => listCursors(run.client, run.options.shareName, run.signal));
  for (const sent of unacknowledged) if (isCommitted(sent, cursors)) run.round.unreported += sent.lines;
  const unsure = new Set(unacknowledged.map(({ tracked }) => tracked));
  for (const tracked of files) (unsure.has(tracked) ? adoptCursor : adoptMovedCursor)(tracked, cursors);
  measure(run);
}

function isCommitted({ tracked, to }: Sent, cursors: Cursors): boolean {
  const cursor = cursors.get(tracked.file.auditFilePath);
  return cursor !== undefined && Buffer.compare(cursor.headFingerprint, to.headFingerprint) === 0 && cursor.position >= to.position;
}

async function pushFiles(run: AuditRun, files: TrackedFile[], sender: AuditSender): Promise<boolean> {
  let heldBack = false;
  for (const tracked of files) {
    if (isOver(run) || heldBack) break;
    if (tracked.settledStamp !== undefined) continue;
    try {
      await pushFile(run, tracked, sender);
      tracked.failures = 0;
    } catch (error) {
      const message = problemOf(error);
      if (message === undefined) throw error;
      addProblem(run, { path: tracked.file.paths[0], message });
      tracked.failures++;
      heldBack = tracked.failures < holdsBackRounds;
    }
  }
  await sender.finish();
  return heldBack;
}

function isOver(run: AuditRun): boolean {
  return run.stopped() || run.halted;
}

/** What is wrong with the file, not with the run; undefined when it is the run. */
function problemOf(error: unknown): string | undefined {
  if (error instanceof NoVolumeError) return error.message;
  return error instanceof Error && "syscall" in error ? `The audit file cannot be read: ${error.message}` : undefined;
}

async function pushFile(run: AuditRun, tracked: TrackedFile, sender: AuditSender): Promise<void> {
  const opened = await openAuditFile(tracked.file.paths, tracked.known);
  // Gone since the trail was listed.
  if (opened === undefined) return;
  try {
    const { from, sizeBytes } = opened;
    const shorter = tracked.cursorPosition > sizeBytes;
    foundAt(tracked, from);
    if (shorter) tracked.cursorPosition = 0;
    measureFile(run, tracked, { sizeBytes, readTo: from?.position ?? 0 });
    let batches = 0;
    for await (const batch of opened.batches()) {
      if (isOver(run)) return;
      if (from !== undefined)
        await pushBatch(run, tracked, { ...batch, headFingerprint: from.headFingerprint, restarted: shorter && batches === 0 }, sender);
      batches++;
    }
    if (batches === 0) settle(tracked, opened);
  } finally {
    await opened.close();
  }
}

async function pushBatch(
  run: AuditRun,
  tracked: TrackedFile,
  batch: LineBatch & { headFingerprint: Uint8Array; restarted: boolean },
  sender: AuditSender,
): Promise<void> {
  const { auditFilePath } = tracked.file;
  const { startOffset, endOffset, lines, headFingerprint, restarted } = batch;
  const events = lines.map((line) => eventOf(run, auditFilePath, line));
  if (run.volumeId === "") run.volumeId = await findVolume(run.files.values());
  const message = { auditFilePath, headFingerprint, startOffset: BigInt(startOffset), endOffset: BigInt(endOffset), events, restarted };
  await sender.send(message, { tracked, to: { position: endOffset, headFingerprint }, lines: lines.length });
  run.rate.add(lines.length);
  run.progress.lines += lines.length;
  measureFile(run, tracked, { readTo: endOffset });
  report(run, "reading");
}

function eventOf(run: AuditRun, auditFilePath: string, line: Line): AuditEvent {
  const event = readEvent(run, line);
  if (event.refusedReason !== "") run.options.onRefused?.({ auditFilePath, offset: line.offset, reason: event.refusedReason });
  else if (event.timeMicros > (run.progress.newestEventMicros ?? -1n)) run.progress.newestEventMicros = event.timeMicros;
  return event;
}

/** The first event that names a volume decides whose trail it is; one of another volume must not touch this share's files. */
function readEvent(run: AuditRun, { offset, bytes }: Line): AuditEvent {
  if (bytes === undefined) return refusedEvent(offset, `the line is longer than ${lineBytesAtMost} bytes`);
  const { event, volumeId } = parseLine(bytes, offset);
  if (volumeId === "") return event;
  run.volumeId ||= volumeId;
  return volumeId === run.volumeId ? event : refusedEvent(offset, `the event is of filespace ${volumeId}, the trail of ${run.volumeId}`);
}
