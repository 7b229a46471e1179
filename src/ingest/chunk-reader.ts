/**
 * Reads a frostline.v1.Chunk from its bytes without making an object of each record: decoding
 * millions of records into messages took half of the server's time, most of it garbage collection.
 * What stays an object is what there are few of: chunks, directories, problems.
 *
 * Follows the wire format (https://protobuf.dev/programming-guides/encoding/): unknown fields are
 * skipped, of a field that comes twice the last counts. Malformed bytes throw INVALID_ARGUMENT.
 */
import { isUtf8 } from "node:buffer";
import { DomainError } from "../errors.js";

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

const varint = 0;
const fixed64 = 1;
const lengthDelimited = 2;
const fixed32 = 5;
const twoPow32 = 4_294_967_296;

/** A place in bytes, and the reading of what the wire format is made of. */
class Cursor {
  readonly bytes: Uint8Array;
  at: number;
  /** The varint read last. */
  low = 0;
  high = 0;

  constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes;
    this.at = at;
  }

  varint(end: number): void {
    const { bytes } = this;
    let at = this.at;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= end) throw malformed("a number is cut off", at);
      const byte = bytes[at++] as number;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else if (shift < 63) high |= bits << (shift - 32);
      else if (bits > 1) throw malformed("a number has more than 64 bits", at);
      else high |= bits << 31;
      if (byte < 0x80) {
        this.at = at;
        this.low = low >>> 0;
        this.high = high >>> 0;
        return;
      }
    }
    throw malformed("a number has more than ten bytes", at);
  }

  /** Field number and wire type of the next field, as `number << 3 | type`. */
  tag(end: number): number {
    const byte = this.bytes[this.at] as number;
    if (byte < 0x80 && this.at < end) {
      this.at += 1;
      if (byte < 8) throw malformed("a field has the number 0", this.at);
      return byte;
    }
    this.varint(end);
    if (this.high !== 0 || this.low < 8) throw malformed("a field has a number out of range", this.at);
    return this.low;
  }

  /** Length of a length-delimited field, which lies before `end`. */
  length(end: number): number {
    this.varint(end);
    if (this.high !== 0 || this.low > end - this.at) throw malformed("a field is longer than what holds it", this.at);
    return this.low;
  }

  /** Passes over a length-delimited field. */
  pass(end: number): void {
    const length = this.length(end);
    this.at += length;
  }

  slice(end: number): Uint8Array {
    const length = this.length(end);
    const start = this.at;
    this.at += length;
    return this.bytes.subarray(start, this.at);
  }

  text(end: number): string {
    const slice = this.slice(end);
    if (!isUtf8(slice)) throw malformed("a text is not UTF-8", this.at);
    return Buffer.from(slice.buffer, slice.byteOffset, slice.byteLength).toString();
  }

  /** The varint read last, as a signed 64-bit number. */
  int64(): bigint {
    return BigInt.asIntN(64, (BigInt(this.high) << 32n) | BigInt(this.low));
  }

  skip(tag: number, end: number): void {
    const type = tag & 7;
    if (type === varint) this.varint(end);
    else if (type === lengthDelimited) this.pass(end);
    else if (type === fixed64 || type === fixed32) {
      this.at += type === fixed64 ? 8 : 4;
      if (this.at > end) throw malformed("a field is cut off", this.at);
    } else throw malformed(`a field has the wire type ${type}`, this.at);
  }
}

function malformed(what: string, at: number): DomainError {
  return new DomainError("INVALID_ARGUMENT", `A chunk cannot be decoded: ${what}, before byte ${at}.`, { reason: "MALFORMED_CHUNK" });
}

const field = (number: number, type: number) => (number << 3) | type;

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

/** A sint64 as a double: exact up to 2^53, which is far beyond the times that are accepted. */
function zigzag(cursor: Cursor, end: number): number {
  cursor.varint(end);
  const { low, high } = cursor;
  const half = high * (twoPow32 / 2) + (low >>> 1);
  return (low & 1) === 0 ? half : -half - 1;
}
