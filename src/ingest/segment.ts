/** What goes into one transaction: whole chunks, whole directories. */

import { DomainError } from "../errors.js";
import { type ChunkView, type ListingView, RecordReader } from "./chunk-reader.js";
import { CopyRows } from "./copy-rows.js";
import type { ShareRef } from "./directories.js";
import { pathBytesAtMost, segmentFilesAtMost } from "./limits.js";
import { NamesSeen } from "./names-seen.js";
import type { ProblemKind } from "./observer.js";
import { RecordEncoder } from "./record-encoder.js";
import { directoryPath, nameFault, printable } from "./records.js";

/** A record, listing or directory that could not be taken; one row of scan_problem. */
export interface Problem {
  chunkNo: bigint;
  /** Position in the chunk, from 0; -1 for a whole directory. */
  recordIndex: number;
  dirPath: string;
  name: string;
  reason: string;
  unreadable: boolean;
}

/** One that is just found. */
export interface FoundProblem extends Problem {
  kind: ProblemKind;
}

/** A directory of a segment, as its row of staging_dir. */
export interface StagedDirectory {
  dirId: bigint;
  path: string;
  /** The listing has every file of it. */
  complete: boolean;
  listedUnixMs: number;
  chunkNo: bigint;
}

/** Where rows begin in their chunk, for the numbering of problems. */
interface ChunkContext {
  chunk: ChunkView;
  recordIndex: number;
}

/** Of the listing that is being read: of one at a time in the whole process. */
const names = new NamesSeen();

export class Segment {
  readonly rows = new CopyRows();
  readonly directories = new Map<bigint, StagedDirectory>();
  readonly problems: FoundProblem[] = [];
  readonly firstChunkNo: bigint;
  readonly startedMs = Date.now();
  nextChunkNo: bigint;
  resumeToken: Uint8Array = new Uint8Array();
  /** False: no directory has a name twice. */
  mayRepeatNames = false;
  /** The directory whose listing goes on in the next chunk. */
  openDirectory: StagedDirectory | undefined;
  readonly #share: ShareRef;
  readonly #encoder: RecordEncoder;

  constructor(share: ShareRef, firstChunkNo: bigint) {
    this.#share = share;
    this.#encoder = new RecordEncoder(this.rows, share.tenantId, share.srcType);
    this.firstChunkNo = firstChunkNo;
    this.nextChunkNo = firstChunkNo;
  }

  /** True when a listing of a directory that is here, and closed, begins again in these listings. */
  repeats(dirIds: (bigint | undefined)[]): boolean {
    return dirIds.some((dirId) => dirId !== undefined && dirId !== this.openDirectory?.dirId && this.directories.has(dirId));
  }

  /**
   * Takes a chunk: `dirIds` are the ids of its directories, undefined where the path is bad.
   * Never fails for a bad record; those become problems.
   */
  add(chunk: ChunkView, paths: ({ path: string } | { fault: string })[], dirIds: (bigint | undefined)[]): void {
    const context: ChunkContext = { chunk, recordIndex: 0 };
    chunk.directories.forEach((listing, at) => {
      const parsed = paths[at] as { path: string } | { fault: string };
      const dirId = dirIds[at];
      if ("fault" in parsed || dirId === undefined) {
        this.#refuseListing(context, listing, "fault" in parsed ? parsed.fault : "");
      } else {
        this.#addListing(context, listing, parsed.path, dirId);
      }
      context.recordIndex += listing.fileCount;
    });
    this.nextChunkNo = chunk.chunkNo + 1n;
    this.resumeToken = chunk.resumeToken;
    if (this.rows.rowCount > segmentFilesAtMost) {
      throw new DomainError(
        "RESOURCE_EXHAUSTED",
        `One directory has more than ${segmentFilesAtMost} files; such a directory cannot be merged.`,
        {
          reason: "DIRECTORY_TOO_LARGE",
        },
      );
    }
  }

  /** Files whose records were good, and the sum of their sizes. */
  get accepted(): { files: bigint; sizeBytes: string } {
    return { files: BigInt(this.#encoder.files), sizeBytes: String(this.#encoder.sizeBytes) };
  }

  /** A problem of a directory of this segment that shows itself only in the database. */
  refuseDirectory(directory: StagedDirectory, reason: string): void {
    const { chunkNo, path: dirPath } = directory;
    this.problems.push({ kind: "directory", chunkNo, recordIndex: -1, dirPath, name: "", reason, unreadable: false });
  }

  #refuseListing(context: ChunkContext, listing: ListingView, fault: string): void {
    this.openDirectory = undefined;
    const dirPath = printable(listing.path, pathBytesAtMost);
    this.problems.push({
      kind: "directory",
      chunkNo: context.chunk.chunkNo,
      recordIndex: -1,
      dirPath,
      name: "",
      reason: `listing refused: ${fault}`,
      unreadable: false,
    });
  }

  #addListing(context: ChunkContext, listing: ListingView, path: string, dirId: bigint): void {
    const open = this.openDirectory;
    let directory = open?.dirId === dirId ? open : undefined;
    if (open && !directory) {
      // A listing that was never ended: what it has is true, that it has all is not said.
      open.complete = false;
      this.refuseDirectory(open, "the listing was not ended: its last part is missing");
    }
    if (!directory) {
      if (this.directories.has(dirId)) {
        this.#refuseListing(context, listing, "the chunk lists this directory twice");
        return;
      }
      directory = { dirId, path, complete: false, listedUnixMs: listTimeMs(listing), chunkNo: context.chunk.chunkNo };
      this.directories.set(dirId, directory);
    }
    // What is told of names is told of one part.
    if (open || listing.more) this.mayRepeatNames = true;
    this.#addRecords(context, listing, directory);
    if (listing.unreadableReason !== "") {
      this.problems.push({
        kind: "unreadable",
        chunkNo: context.chunk.chunkNo,
        recordIndex: -1,
        dirPath: path,
        name: "",
        reason: clean(listing.unreadableReason),
        unreadable: true,
      });
    }
    directory.complete = listing.complete && !listing.more && listing.unreadableReason === "";
    this.openDirectory = listing.more ? directory : undefined;
  }

  #addRecords(context: ChunkContext, listing: ListingView, directory: StagedDirectory): void {
    const { dirId, path } = directory;
    const { chunk } = context;
    const reader = new RecordReader(chunk, listing);
    names.begin();
    for (let at = context.recordIndex; reader.next(); at += 1) {
      const reason = this.#encoder.write(chunk, reader.record, dirId);
      if (reason === undefined) {
        if (names.add(this.#encoder.nameHash)) this.mayRepeatNames = true;
        continue;
      }
      const name = chunk.bytes.subarray(reader.record.nameStart, reader.record.nameEnd);
      const kind = nameFault(name, this.#share.srcType) === undefined ? "value" : "name";
      this.#refuseRecord(context, { kind, recordIndex: at, dirPath: path, name, reason });
      this.#protect(name, dirId);
    }
    for (const { name, reason } of listing.leftOut) {
      this.#refuseRecord(context, { kind: "left_out", recordIndex: -1, dirPath: path, name, reason: clean(reason) });
      this.#protect(name, dirId);
    }
  }

  /** A file of that name is there, whatever is wrong with its record. */
  #protect(name: Uint8Array, dirId: bigint): void {
    if (nameFault(name, this.#share.srcType) !== undefined) return;
    this.#encoder.writeRefused(name, dirId);
    this.mayRepeatNames = true;
  }

  #refuseRecord(context: ChunkContext, refused: Omit<FoundProblem, "chunkNo" | "name" | "unreadable"> & { name: Uint8Array }): void {
    this.problems.push({ ...refused, chunkNo: context.chunk.chunkNo, name: printable(refused.name), unreadable: false });
  }
}

/** Paths of a chunk's directories, in their normal form, or why they have none. */
export function parsePaths(chunk: ChunkView, share: ShareRef): ({ path: string } | { fault: string })[] {
  return chunk.directories.map((listing) => directoryPath(listing.path, share.srcType));
}

/** When the listing was begun, by the agent's clock; never later than now, since it has been begun. */
function listTimeMs({ listTimeMs }: ListingView): number {
  const nowMs = Date.now();
  return listTimeMs === undefined ? nowMs : Math.min(Math.max(listTimeMs, 0), nowMs);
}

/** A reason from an agent: at most 500 characters, without NUL. */
function clean(reason: string): string {
  return reason.replaceAll("\0", "\\x00").slice(0, 500);
}
