/**
 * File records to rows of staging_file, in the binary format of COPY: the innermost loop of the
 * server, once for each file of each scan. Bytes go from the chunk into the COPY buffer; a string
 * or an object is made only of what is refused.
 */
import type { SourceType } from "../paths.js";
import type { ChunkView, RecordView } from "./chunk-reader.js";
import type { CopyRows } from "./copy-rows.js";
import { nameBytesAtMost } from "./limits.js";
import { hashByte, hashStart } from "./names-seen.js";
import { extensionOf, nameFault, valueFault } from "./records.js";

const slash = 0x2f;
const backslash = 0x5c;
const dot = 0x2e;
const columns = 15;
const twoPow32 = 4_294_967_296;

/** Encodes records of one tenant. */
export class RecordEncoder {
  /** What every row begins with: the number of columns, and tenant_id. */
  readonly #prefix: Buffer;
  readonly #srcType: SourceType;
  readonly #rows: CopyRows;
  /** Good records written. */
  files = 0;
  /** Of the name of the record that was written last, see names-seen.ts. */
  nameHash = 0;
  #sizeLow = 0;
  #sizeHigh = 0;
  /** The directory of the last row, and the halves of its id: taken apart for each row, a BigInt made a fifth of all garbage. */
  #dirId = 0n;
  #dirHigh = 0;
  #dirLow = 0;

  constructor(rows: CopyRows, tenantId: string, srcType: SourceType) {
    this.#rows = rows;
    this.#srcType = srcType;
    const uuid = Buffer.from(tenantId.replaceAll("-", ""), "hex");
    this.#prefix = Buffer.concat([Buffer.from([0, columns, 0, 0, 0, uuid.length]), uuid]);
  }

  /** Sum of the sizes of all records written. */
  get sizeBytes(): bigint {
    return (BigInt(this.#sizeHigh) << 32n) + BigInt(this.#sizeLow);
  }

  /** Writes a record's row. When its name or a value is bad, nothing is written and the reason is returned. */
  write(chunk: ChunkView, record: RecordView, dirId: bigint): string | undefined {
    const { bytes } = chunk;
    const { nameStart, nameEnd } = record;
    const fault = this.#fault(chunk, record);
    if (fault !== undefined) return fault;
    const rows = this.#rows;
    rows.beginRow();
    const { buffer } = rows;
    let at = this.#begin(buffer, rows.at, rows.rowCount - 1, dirId);
    at = int4(buffer, at, nameEnd - nameStart);
    for (let from = nameStart; from < nameEnd; from += 1) buffer[at++] = bytes[from] as number;
    at = extension(buffer, at, bytes, nameStart, nameEnd);
    at = record.linkCount === 0 ? int4(buffer, at, -1) : int4(buffer, int4(buffer, at, 4), record.linkCount);
    at = bool(buffer, at, false);
    at = int8(buffer, at, record.sizeHigh, record.sizeLow);
    at = record.hasAllocated ? int8(buffer, at, record.allocatedHigh, record.allocatedLow) : int4(buffer, at, -1);
    at = seconds(buffer, at, record.atimeUnix);
    at = seconds(buffer, at, record.mtimeUnix);
    at = seconds(buffer, at, record.ctimeUnix);
    at = record.hasFrn ? int8(buffer, at, record.frnHigh, record.frnLow) : int4(buffer, at, -1);
    const owner = record.ownerIndex === 0 ? undefined : chunk.owners[record.ownerIndex - 1];
    at = owner === undefined ? int4(buffer, at, -1) : field(buffer, at, owner);
    at = record.hashStart === record.hashEnd ? int4(buffer, at, -1) : field(buffer, at, bytes.subarray(record.hashStart, record.hashEnd));
    rows.at = at;
    this.files += 1;
    this.#addSize(record);
    return undefined;
  }

  /** Writes the row of a record whose values were refused: it only keeps the file of that name from being taken for gone. */
  writeRefused(name: Uint8Array, dirId: bigint): void {
    const rows = this.#rows;
    rows.beginRow();
    const { buffer } = rows;
    let at = this.#begin(buffer, rows.at, rows.rowCount - 1, dirId);
    at = field(buffer, at, name);
    at = int4(buffer, at, 0);
    at = int4(buffer, at, -1);
    at = bool(buffer, at, true);
    at = int8(buffer, at, 0, 0);
    at = int4(buffer, at, -1);
    for (let time = 0; time < 3; time += 1) at = int8(buffer, at, 0, 0);
    for (let absent = 0; absent < 3; absent += 1) at = int4(buffer, at, -1);
    rows.at = at;
  }

  #begin(buffer: Buffer, start: number, ordinal: number, dirId: bigint): number {
    const prefix = this.#prefix;
    let at = start;
    for (let from = 0; from < prefix.length; from += 1) buffer[at++] = prefix[from] as number;
    at = int4(buffer, int4(buffer, at, 4), ordinal);
    if (dirId !== this.#dirId) {
      this.#dirId = dirId;
      this.#dirHigh = Number(BigInt.asIntN(32, dirId >> 32n));
      this.#dirLow = Number(BigInt.asUintN(32, dirId));
    }
    return int8(buffer, at, this.#dirHigh, this.#dirLow);
  }

  /** The usual record passes without a call; what is out of the ordinary is looked at in full. */
  #fault(chunk: ChunkView, record: RecordView): string | undefined {
    const { bytes } = chunk;
    const { nameStart, nameEnd } = record;
    const length = nameEnd - nameStart;
    let ordinary = length > 0 && length <= nameBytesAtMost && bytes[nameStart] !== dot;
    let hash = hashStart;
    for (let at = nameStart; at < nameEnd; at += 1) {
      const byte = bytes[at] as number;
      hash = hashByte(hash, byte);
      if (byte >= 0x80 || byte === slash || byte === backslash || byte === 0) ordinary = false;
    }
    this.nameHash = hash;
    if (!ordinary) {
      const reason = nameFault(bytes.subarray(nameStart, nameEnd), this.#srcType);
      if (reason !== undefined) return reason;
    }
    return valueFault(record, chunk.owners);
  }

  /** In halves, since the sum may pass what a double holds exactly. */
  #addSize(record: RecordView): void {
    this.#sizeLow += record.sizeLow;
    this.#sizeHigh += record.sizeHigh;
    if (this.#sizeLow >= twoPow32) {
      this.#sizeLow -= twoPow32;
      this.#sizeHigh += 1;
    }
  }
}

function int4(buffer: Buffer, start: number, value: number): number {
  buffer[start] = value >>> 24;
  buffer[start + 1] = value >>> 16;
  buffer[start + 2] = value >>> 8;
  buffer[start + 3] = value;
  return start + 4;
}

function int8(buffer: Buffer, start: number, high: number, low: number): number {
  return int4(buffer, int4(buffer, int4(buffer, start, 8), high), low);
}

function seconds(buffer: Buffer, start: number, value: number): number {
  return int8(buffer, start, Math.floor(value / twoPow32), value >>> 0);
}

function bool(buffer: Buffer, start: number, value: boolean): number {
  const at = int4(buffer, start, 1);
  buffer[at] = value ? 1 : 0;
  return at + 1;
}

function field(buffer: Buffer, start: number, value: Uint8Array): number {
  const at = int4(buffer, start, value.length);
  buffer.set(value, at);
  return at + value.length;
}

function extension(buffer: Buffer, start: number, bytes: Uint8Array, nameStart: number, nameEnd: number): number {
  let from = nameEnd - 1;
  while (from > nameStart && bytes[from] !== dot) from -= 1;
  if (from === nameStart || from === nameEnd - 1) return int4(buffer, start, 0);
  let at = start + 4;
  for (let next = from + 1; next < nameEnd; next += 1) {
    const byte = bytes[next] as number;
    // Upper case of other alphabets, and what is too long to be an extension.
    if (byte >= 0x80 || at - start > 32 + 3) return field(buffer, start, extensionOf(bytes.subarray(nameStart, nameEnd)));
    buffer[at++] = byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
  }
  int4(buffer, start, at - start - 4);
  return at;
}
