/** Reads one audit file, in batches of whole lines. */
import { createHash } from "node:crypto";
import { constants, type Stats } from "node:fs";
import * as fs from "node:fs/promises";

/** How far a file was read. */
export interface FilePosition {
  /** The byte after the last line that was read. */
  position: number;
  /** SHA-256 of the file's first line, its end included. */
  headFingerprint: Uint8Array;
}

/** A line that begins at byte `offset`, without its end; `undefined` when it is too long to be one. */
export interface Line {
  offset: number;
  bytes: Uint8Array | undefined;
}

/** Whole lines, one after the other. */
export interface LineBatch {
  startOffset: number;
  /** The byte after the last line's end. */
  endOffset: number;
  lines: Line[];
}

/** An open audit file. Whoever opened it closes it. */
export interface OpenAuditFile {
  /** When it was opened. */
  sizeBytes: number;
  mtimeMs: number;
  /** See stampOf. */
  stamp: string;
  /** Where reading goes on; 0 when the file is another than the position was of. Undefined: it has no whole line yet. */
  from: FilePosition | undefined;
  /**
   * What was there when it was opened, in batches; ends early when the file is changed into another meanwhile. The bytes of
   * a batch are valid until the next one is asked for.
   */
  batches(): AsyncGenerator<LineBatch>;
  close(): Promise<void>;
}

/** Bytes read at once, and so the usual size of a batch. */
export const batchBytes = 256 * 1024;
/** So that a batch of very short lines, each refused with a reason, is no larger than a message may be. */
const linesAtMost = 5_000;
/** A path has 32,767 characters at most, and a line two of them. */
export const lineBytesAtMost = 1024 * 1024;
const headBytes = 4096;
const newline = 0x0a;

/**
 * Opens a file, read-only, at the first of `paths` that is there; undefined when none is. `known` is how far it was read.
 * Rejects with the system's error.
 */
export async function openAuditFile(paths: readonly string[], known: FilePosition | undefined): Promise<OpenAuditFile | undefined> {
  const handle = await openFirst(paths);
  if (handle === undefined) return undefined;
  try {
    const stats = await handle.stat();
    const sizeBytes = stats.size;
    const from = await goOnFrom(handle, sizeBytes, known);
    return {
      sizeBytes,
      mtimeMs: stats.mtimeMs,
      stamp: stampOf(stats),
      from,
      batches: () => readBatches(handle, sizeBytes, from),
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Changes whenever the file is written to, or another is put in its place. */
export function stampOf(stats: Stats): string {
  return `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeMs}`;
}

async function openFirst(paths: readonly string[]): Promise<fs.FileHandle | undefined> {
  for (const path of paths) {
    const handle = await fs.open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    if (handle !== undefined) return handle;
  }
  return undefined;
}

async function goOnFrom(handle: fs.FileHandle, sizeBytes: number, known: FilePosition | undefined): Promise<FilePosition | undefined> {
  const headFingerprint = await fingerprint(handle);
  if (headFingerprint === undefined) return undefined;
  const same =
    known !== undefined && sameBytes(known.headFingerprint, headFingerprint) && (await isLineStart(handle, sizeBytes, known.position));
  return { position: same ? known.position : 0, headFingerprint };
}

/** Whether a line may begin there. Not past the end, where a file was truncated; not within a line, where an operator set the position. */
async function isLineStart(handle: fs.FileHandle, sizeBytes: number, position: number): Promise<boolean> {
  if (position === 0) return true;
  if (position > sizeBytes) return false;
  const before = Buffer.alloc(1);
  const { bytesRead } = await handle.read(before, 0, 1, position - 1);
  return bytesRead === 1 && before[0] === newline;
}

/** Digest of the first line; undefined while it is not whole. */
async function fingerprint(handle: fs.FileHandle): Promise<Uint8Array | undefined> {
  const hash = createHash("sha256");
  for await (const piece of pieces(handle, 0, Number.POSITIVE_INFINITY, headBytes)) {
    const end = piece.indexOf(newline);
    hash.update(end === -1 ? piece : piece.subarray(0, end + 1));
    if (end !== -1) return hash.digest();
  }
  return undefined;
}

async function* readBatches(handle: fs.FileHandle, sizeBytes: number, from: FilePosition | undefined): AsyncGenerator<LineBatch> {
  if (from === undefined) return;
  const buffer = Buffer.allocUnsafe(Math.min(batchBytes, sizeBytes - from.position));
  for (let position = from.position; position < sizeBytes; ) {
    const wanted = Math.min(buffer.length, sizeBytes - position);
    const bytes = buffer.subarray(0, await readFully(handle, buffer, wanted, position));
    const batch =
      splitLines(bytes, position) ?? (bytes.length === batchBytes ? await readLongLine(handle, position, sizeBytes) : undefined);
    if (batch === undefined) return;
    // The first line as before, after the bytes were read: they are not of a file that was put in its place in between.
    const head = await fingerprint(handle);
    if (head === undefined || !sameBytes(head, from.headFingerprint)) return;
    yield batch;
    position = batch.endOffset;
  }
}

/** Reads until `wanted` bytes are there or the file ends. */
async function readFully(handle: fs.FileHandle, buffer: Buffer, wanted: number, position: number): Promise<number> {
  let read = 0;
  while (read < wanted) {
    const { bytesRead } = await handle.read(buffer, read, wanted - read, position + read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return read;
}

/** The whole lines in `bytes`, which begin at `startOffset`; undefined when there is none. */
function splitLines(bytes: Buffer, startOffset: number): LineBatch | undefined {
  const lines: Line[] = [];
  let begin = 0;
  while (lines.length < linesAtMost) {
    const end = bytes.indexOf(newline, begin);
    if (end === -1) break;
    lines.push({ offset: startOffset + begin, bytes: bytes.subarray(begin, end) });
    begin = end + 1;
  }
  return lines.length === 0 ? undefined : { startOffset, endOffset: startOffset + begin, lines };
}

/** A line that is longer than a batch usually is; undefined while it is not whole. Too long a line is looked through for its end and not kept. */
async function readLongLine(handle: fs.FileHandle, startOffset: number, sizeBytes: number): Promise<LineBatch | undefined> {
  const kept: Buffer[] = [];
  let lengthBytes = 0;
  for await (const piece of pieces(handle, startOffset, sizeBytes, batchBytes)) {
    const end = piece.indexOf(newline);
    const part = end === -1 ? piece : piece.subarray(0, end);
    lengthBytes += part.length;
    if (lengthBytes <= lineBytesAtMost) kept.push(Buffer.from(part));
    if (end === -1) continue;
    const bytes = lengthBytes <= lineBytesAtMost ? Buffer.concat(kept) : undefined;
    return { startOffset, endOffset: startOffset + lengthBytes + 1, lines: [{ offset: startOffset, bytes }] };
  }
  return undefined;
}

/** The file from `position` on, in pieces that are valid until the next one is asked for. */
async function* pieces(handle: fs.FileHandle, position: number, endOffset: number, pieceBytes: number): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(pieceBytes);
  for (let at = position; at < endOffset; ) {
    const { bytesRead } = await handle.read(buffer, 0, Math.min(pieceBytes, endOffset - at), at);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
