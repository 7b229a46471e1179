/** Reading of the protobuf wire format (https://protobuf.dev/programming-guides/encoding/), one value at a time. */
import { isUtf8 } from "node:buffer";
import { DomainError } from "../errors.js";

export const varint = 0;
const fixed64 = 1;
export const lengthDelimited = 2;
const fixed32 = 5;
/** A place in bytes, and the reading of what the wire format is made of. */
export class Cursor {
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

export function malformed(what: string, at: number): DomainError {
  return new DomainError("INVALID_ARGUMENT", `A chunk cannot be decoded: ${what}, before byte ${at}.`, { reason: "MALFORMED_CHUNK" });
}

/** A field's tag. */
export const field = (number: number, type: number) => (number << 3) | type;
