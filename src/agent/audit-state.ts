/** What an agent knows of each audit file, and of the server's cursors. */
import * as fs from "node:fs/promises";
import { AuditService } from "../gen/frostline/v1/audit_pb.js";
import { type FilePosition, type OpenAuditFile, stampOf } from "./audit-file.js";
import type { AuditFile } from "./audit-trail.js";
import type { Client } from "./client.js";

export interface TrackedFile {
  file: AuditFile;
  /** Up to where the server has it; undefined when it has nothing of it. */
  known: FilePosition | undefined;
  /** The cursor as it was last seen or moved: another one now was moved by somebody else. */
  cursorPosition: number;
  /** When it was last looked at. */
  sizeBytes: number;
  /** Up to where it was sent; acknowledged or not. */
  readTo: number;
  /** Set when there is nothing more to expect of it: it is looked at again once it has another stamp. */
  settledStamp: string | undefined;
  /** Rounds in a row in which it could not be read. */
  failures: number;
}

export type Cursors = Map<string, FilePosition>;

const pageSize = 10_000;
/** Rotated files change no more. Of a file server that caches what it says of files for a while, not even the size is final at once. */
const settledAfterMs = 60_000;
const statsAtOnce = 16;

/** The server's cursors of a share, by audit_file_path. */
export async function listCursors(client: Client, shareName: string, signal: AbortSignal): Promise<Cursors> {
  const cursors: Cursors = new Map();
  let pageToken = "";
  do {
    const page = await client.unary(AuditService.method.listAuditCursors, { shareName, pageSize, pageToken }, { signal });
    for (const { auditFilePath, position, headFingerprint } of page.cursors) {
      cursors.set(auditFilePath, { position: Number(position), headFingerprint });
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return cursors;
}

export function newTrackedFile(file: AuditFile, cursors: Cursors): TrackedFile {
  const tracked: TrackedFile = { file, known: undefined, cursorPosition: 0, sizeBytes: 0, readTo: 0, settledStamp: undefined, failures: 0 };
  adoptCursor(tracked, cursors);
  return tracked;
}

/** Goes on from the server's cursor, wherever the agent itself was. */
export function adoptCursor(tracked: TrackedFile, cursors: Cursors): void {
  tracked.known = cursors.get(tracked.file.auditFilePath);
  tracked.cursorPosition = tracked.known?.position ?? 0;
  tracked.readTo = tracked.cursorPosition;
  tracked.settledStamp = undefined;
}

/** The same, if somebody else has moved the cursor: another agent, or an operator who set it back. */
export function adoptMovedCursor(tracked: TrackedFile, cursors: Cursors): void {
  const position = cursors.get(tracked.file.auditFilePath)?.position ?? 0;
  if (position !== tracked.cursorPosition) adoptCursor(tracked, cursors);
}

/** A file was opened: reading goes on at `from`, which is its begin if it is another than it was. */
export function foundAt(tracked: TrackedFile, from: FilePosition | undefined): void {
  const before = tracked.known;
  if (before !== undefined && from !== undefined && Buffer.compare(before.headFingerprint, from.headFingerprint) !== 0)
    tracked.cursorPosition = 0;
  tracked.known = from;
}

/** The server has everything up to there. */
export function acknowledge(tracked: TrackedFile, to: FilePosition): void {
  tracked.known = to;
  tracked.cursorPosition = Math.max(tracked.cursorPosition, to.position);
}

/** A file that was opened, and had nothing new: whether it needs opening again. */
export function settle(tracked: TrackedFile, opened: OpenAuditFile): void {
  const whole = !tracked.file.active && opened.from?.position === opened.sizeBytes;
  tracked.settledStamp = whole && Date.now() - opened.mtimeMs > settledAfterMs ? opened.stamp : undefined;
}

/** Looks at files without opening them: what is settled and has changed is so no more. */
export async function lookAt(files: TrackedFile[]): Promise<void> {
  const queue = files.values();
  const look = async () => {
    for (const tracked of queue) {
      // Why it can't be looked at is told when it is opened.
      const stats = await fs.stat(tracked.file.paths[0]).catch(() => undefined);
      if (stats !== undefined) tracked.sizeBytes = stats.size;
      if (stats === undefined || stampOf(stats) !== tracked.settledStamp) tracked.settledStamp = undefined;
    }
  };
  await Promise.all(Array.from({ length: statsAtOnce }, look));
}
