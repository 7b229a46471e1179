/** Listings to chunks: whole directories together up to a target size, large ones cut. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Chunk, DirectoryListing, FileRecord } from "../gen/frostline/v1/scan_pb.js";
import type { FileEntry, Listing } from "./listing.js";
import { noBytes } from "./listing.js";

export interface ChunkerOptions {
  /** Where a chunk is cut, in estimated bytes of the encoded message. Default 256 KiB. */
  targetBytes?: number;
  /** Position before the first listing: the token of chunks that end before any directory does. */
  resumeAfter?: Uint8Array | undefined;
}

const defaultTargetBytes = 256 * 1024;
/** Encoded size of a record without name and hash: 36 bytes are usual; at worst it is twice this. */
const recordBytes = 42;
const directoryBytes = 32;
const leftOutBytes = 8;

/** A chunk in the making. */
interface Draft {
  directories: DirectoryListing[];
  owners: Map<string, number>;
  sizeBytes: number;
}

/**
 * Groups listings into chunks without numbers (chunkNo 0): the sender numbers them. A chunk's resume token is the path of
 * the last directory that it, with those before it, has wholly. Chunks are a little over the target at most, unless one
 * path, name or reason is larger than that by itself.
 */
export async function* toChunks(listings: AsyncIterable<Listing>, options: ChunkerOptions = {}): AsyncGenerator<Chunk> {
  const targetBytes = options.targetBytes ?? defaultTargetBytes;
  let token = options.resumeAfter ?? noBytes;
  let draft = newDraft();
  /** The directory whose next part is awaited. */
  let unfinished = false;
  for await (const listing of listings) {
    // A large directory starts a chunk of its own, so that the cut before it is at a directory's end.
    const large = listing.more || draft.sizeBytes + estimateBytes(listing) > targetBytes;
    if (!unfinished && large && draft.directories.length > 0) {
      yield finish(draft, token);
      draft = newDraft();
    }
    let directory = unfinished ? draft.directories.at(-1) : undefined;
    directory ??= addDirectory(draft, listing);
    for (const entry of [...listing.leftOut, ...listing.files]) {
      if (draft.sizeBytes >= targetBytes && hasRecords(directory)) {
        directory.more = true;
        yield finish(draft, token);
        draft = newDraft();
        directory = addDirectory(draft, listing);
      }
      draft.sizeBytes += entryBytes(entry);
      if ("reason" in entry) directory.leftOut.push({ $typeName: "frostline.v1.LeftOut", name: entry.name, reason: entry.reason });
      else directory.files.push(toRecord(entry, draft));
    }
    unfinished = listing.more;
    if (unfinished) continue;
    directory.complete = listing.complete;
    directory.unreadableReason = listing.unreadableReason;
    token = listing.path;
  }
  if (unfinished) throw new Error("The listings ended inside a directory.");
  if (draft.directories.length > 0) yield finish(draft, token);
}

function newDraft(): Draft {
  return { directories: [], owners: new Map(), sizeBytes: 0 };
}

function finish(draft: Draft, resumeToken: Uint8Array): Chunk {
  return { $typeName: "frostline.v1.Chunk", chunkNo: 0n, resumeToken, directories: draft.directories, owners: [...draft.owners.keys()] };
}

function addDirectory(draft: Draft, listing: Listing): DirectoryListing {
  const directory: DirectoryListing = {
    $typeName: "frostline.v1.DirectoryListing",
    path: listing.path,
    listTime: timestampFromMs(listing.listTimeMs),
    files: [],
    more: false,
    complete: false,
    unreadableReason: "",
    leftOut: [],
  };
  draft.directories.push(directory);
  draft.sizeBytes += directoryBytes + listing.path.length;
  return directory;
}

function hasRecords(directory: DirectoryListing): boolean {
  return directory.files.length > 0 || directory.leftOut.length > 0;
}

function estimateBytes(listing: Listing): number {
  let sizeBytes = directoryBytes + listing.path.length + listing.unreadableReason.length;
  for (const file of listing.files) sizeBytes += entryBytes(file);
  for (const entry of listing.leftOut) sizeBytes += entryBytes(entry);
  return sizeBytes;
}

function entryBytes(entry: FileEntry | Listing["leftOut"][number]): number {
  if ("reason" in entry) return leftOutBytes + entry.name.length + entry.reason.length;
  return recordBytes + entry.name.length + entry.fileHash.length;
}

function toRecord(file: FileEntry, draft: Draft): FileRecord {
  return {
    $typeName: "frostline.v1.FileRecord",
    name: file.name,
    sizeBytes: file.sizeBytes,
    mtimeUnix: file.mtimeUnix,
    atimeBeforeMtime: file.mtimeUnix - file.atimeUnix,
    ctimeBeforeMtime: file.mtimeUnix - file.ctimeUnix,
    frn: file.frn,
    allocatedBytes: file.allocatedBytes,
    linkCount: file.linkCount,
    ownerIndex: file.owner === "" ? 0 : ownerIndex(file.owner, draft),
    fileHash: file.fileHash,
  };
}

function ownerIndex(owner: string, draft: Draft): number {
  const known = draft.owners.get(owner);
  if (known !== undefined) return known;
  draft.owners.set(owner, draft.owners.size + 1);
  draft.sizeBytes += owner.length + 2;
  return draft.owners.size;
}
