/**
 * Reads a frostline.v1.Chunk from its bytes without making an object of each record: decoding
 * millions of records into messages took half of the server's time, most of it garbage collection.
 * What stays an object is what there are few of: chunks, directories, problems.
 *
 * As the wire format wants, unknown fields are skipped, and of a field that comes twice the last
 * counts. Malformed bytes throw INVALID_ARGUMENT.
 */
import { isUtf8 } from "node:buffer";
import { Cursor, field, lengthDelimited, malformed, varint } from "./wire-cursor.js";

/** A directory listing, or a part of one. Its records are still bytes: see `files`. */
export interface ListingView {
  path: Uint8Array;
  /** When the listing was begun, by the agent's clock; undefined when it does not say. */
  listTimeMs: number | undefined;
  more: boolean;
  complete: boolean;
  unreadableReason: string;
  leftOut: { name: Uint8Array; reason: string }[];
  /** How many file records it has. */
  fileCount: number;
  /** Where the listing's fields are in the chunk. */
  start: number;
  end: number;
}

export interface ChunkView {
  bytes: Uint8Array;
  chunkNo: bigint;
  resumeToken: Uint8Array;
  owners: Uint8Array[];
  directories: ListingView[];
}

/** The record that a RecordReader stands at. 64-bit numbers are kept as two halves, each unsigned. */
export interface RecordView {
  /** Where the name is in the chunk. */
  nameStart: number;
  nameEnd: number;
  sizeLow: number;
  sizeHigh: number;
  /** Seconds. Exact within the years that are accepted, and beyond them still out of range. */
  mtimeUnix: number;
  atimeUnix: number;
  ctimeUnix: number;
  hasFrn: boolean;
  frnLow: number;
  frnHigh: number;
  hasAllocated: boolean;
  allocatedLow: number;
  allocatedHigh: number;
  linkCount: number;
  ownerIndex: number;
  hashStart: number;
  hashEnd: number;
}

/** Reads all of a chunk but its file records. */
export function readChunk(bytes: Uint8Array): ChunkView {
  const cursor = new Cursor(bytes, 0);
  const chunk: ChunkView = { bytes, chunkNo: 0n, resumeToken: new Uint8Array(), owners: [], directories: [] };
  while (cursor.at < bytes.length) {
    const tag = cursor.tag(bytes.length);
    switch (tag) {
      case field(1, varint):
        cursor.varint(bytes.length);
        chunk.chunkNo = cursor.int64();
        break;
      case field(2, lengthDelimited):
        chunk.resumeToken = cursor.slice(bytes.length);
        break;
      case field(3, lengthDelimited): {
        const length = cursor.length(bytes.length);
        chunk.directories.push(readListing(cursor, cursor.at + length));
        break;
      }
      case field(4, lengthDelimited): {
        const owner = cursor.slice(bytes.length);
        if (!isUtf8(owner)) throw malformed("an owner is not UTF-8", cursor.at);
        chunk.owners.push(owner);
        break;
      }
      default:
        cursor.skip(tag, bytes.length);
    }
  }
  return chunk;
}

function readListing(cursor: Cursor, end: number): ListingView {
  const listing: ListingView = {
    path: new Uint8Array(),
    listTimeMs: undefined,
    more: false,
    complete: false,
    unreadableReason: "",
    leftOut: [],
    fileCount: 0,
    start: cursor.at,
    end,
  };
  while (cursor.at < end) {
    const tag = cursor.tag(end);
    switch (tag) {
      case field(1, lengthDelimited):
        listing.path = cursor.slice(end);
        break;
      case field(2, lengthDelimited): {
        const length = cursor.length(end);
        listing.listTimeMs = readTimestampMs(cursor, cursor.at + length);
        break;
      }
      case field(3, lengthDelimited):
        cursor.pass(end);
        listing.fileCount += 1;
        break;
      case field(4, varint):
        cursor.varint(end);
        listing.more = cursor.low !== 0 || cursor.high !== 0;
        break;
      case field(5, varint):
        cursor.varint(end);
        listing.complete = cursor.low !== 0 || cursor.high !== 0;
        break;
      case field(6, lengthDelimited):
        listing.unreadableReason = cursor.text(end);
        break;
      case field(7, lengthDelimited): {
        const length = cursor.length(end);
        listing.leftOut.push(readLeftOut(cursor, cursor.at + length));
        break;
      }
      default:
        cursor.skip(tag, end);
    }
  }
  return listing;
}

/** google.protobuf.Timestamp */
function readTimestampMs(cursor: Cursor, end: number): number {
  let seconds = 0;
  let nanos = 0;
  while (cursor.at < end) {
    const tag = cursor.tag(end);
    if (tag === field(1, varint)) {
      cursor.varint(end);
      seconds = Number(cursor.int64());
    } else if (tag === field(2, varint)) {
      cursor.varint(end);
      nanos = cursor.low | 0;
    } else cursor.skip(tag, end);
  }
  return seconds * 1000 + Math.trunc(nanos / 1e6);
}

function readLeftOut(cursor: Cursor, end: number): { name: Uint8Array; reason: string } {
  const left = { name: new Uint8Array(), reason: "" };
  while (cursor.at < end) {
    const tag = cursor.tag(end);
    if (tag === field(1, lengthDelimited)) left.name = new Uint8Array(cursor.slice(end));
    else if (tag === field(2, lengthDelimited)) left.reason = cursor.text(end);
    else cursor.skip(tag, end);
  }
  return left;
}

/** Goes through the file records of a listing; one view is filled again and again. */
export class RecordReader {
  readonly record: RecordView = {
    nameStart: 0,
    nameEnd: 0,
    sizeLow: 0,
    sizeHigh: 0,
    mtimeUnix: 0,
    atimeUnix: 0,
    ctimeUnix: 0,
    hasFrn: false,
    frnLow: 0,
    frnHigh: 0,
    hasAllocated: false,
    allocatedLow: 0,
    allocatedHigh: 0,
    linkCount: 0,
    ownerIndex: 0,
    hashStart: 0,
    hashEnd: 0,
  };
  readonly #cursor: Cursor;
  readonly #end: number;

  constructor(chunk: ChunkView, listing: ListingView) {
    this.#cursor = new Cursor(chunk.bytes, listing.start);
    this.#end = listing.end;
  }

  /** Reads the next record into `record`; false when there is none. */
  next(): boolean {
    const cursor = this.#cursor;
    while (cursor.at < this.#end) {
      const tag = cursor.tag(this.#end);
      if (tag === field(3, lengthDelimited)) {
        const length = cursor.length(this.#end);
        this.#read(cursor, cursor.at + length);
        return true;
      }
      cursor.skip(tag, this.#end);
    }
    return false;
  }

  #read(cursor: Cursor, end: number): void {
    const { record } = this;
    record.nameStart = record.nameEnd = record.hashStart = record.hashEnd = 0;
    record.sizeLow = record.sizeHigh = record.linkCount = record.ownerIndex = 0;
    record.hasFrn = record.hasAllocated = false;
    let mtime = 0;
    let atimeBefore = 0;
    let ctimeBefore = 0;
    while (cursor.at < end) {
      const tag = cursor.tag(end);
      switch (tag) {
        case field(1, lengthDelimited):
          record.nameEnd = cursor.length(end) + cursor.at;
          record.nameStart = cursor.at;
          cursor.at = record.nameEnd;
          break;
        case field(2, varint):
          cursor.varint(end);
          record.sizeLow = cursor.low;
          record.sizeHigh = cursor.high;
          break;
        case field(3, varint):
          mtime = zigzag(cursor, end);
          break;
        case field(4, varint):
          atimeBefore = zigzag(cursor, end);
          break;
        case field(5, varint):
          ctimeBefore = zigzag(cursor, end);
          break;
        case field(6, varint):
          cursor.varint(end);
          record.hasFrn = true;
          record.frnLow = cursor.low;
          record.frnHigh = cursor.high;
          break;
        case field(7, varint):
          cursor.varint(end);
          record.hasAllocated = true;
          record.allocatedLow = cursor.low;
          record.allocatedHigh = cursor.high;
          break;
        case field(8, varint):
          cursor.varint(end);
          record.linkCount = cursor.low;
          break;
        case field(9, varint):
          cursor.varint(end);
          record.ownerIndex = cursor.low;
          break;
        case field(10, lengthDelimited):
          record.hashEnd = cursor.length(end) + cursor.at;
          record.hashStart = cursor.at;
          cursor.at = record.hashEnd;
          break;
        default:
          cursor.skip(tag, end);
      }
    }
    record.mtimeUnix = mtime;
    record.atimeUnix = mtime - atimeBefore;
    record.ctimeUnix = mtime - ctimeBefore;
  }
}

const twoPow31 = 2_147_483_648;

/** A sint64 as a double: exact up to 2^53, which is far beyond the times that are accepted. */
function zigzag(cursor: Cursor, end: number): number {
  cursor.varint(end);
  const { low, high } = cursor;
  const half = high * twoPow31 + (low >>> 1);
  return (low & 1) === 0 ? half : -half - 1;
}
