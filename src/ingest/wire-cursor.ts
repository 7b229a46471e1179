/** Reading of the protobuf wire format (https://protobuf.dev/programming-guides/encoding/), one value at a time. */
import { isUtf8 } from "node:buffer";
import { DomainError } from "../errors.js";

export const varint = 0;
const fixed64 = 1;
export const lengthDelimited = 2;
const fixed32 = 5;
/** Below it, both halves of a number together are exact as a double. */
const exactHigh = 2 ** 21;

/** A place in bytes, and the reading of what the wire format is made of. */
export class Cursor {
  readonly bytes: Uint8Array;
  at: number;
  /** The varint read last. */
  low = 0;
  high = 0;
  readonly #buffer: Buffer;

  constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes;
    this.at = at;
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
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
    return this.textOf(this.length(end));
  }

  /** The next `length` bytes, which are known to be there. */
  textOf(length: number): string {
    const start = this.at;
    this.at += length;
    const text = this.#buffer.toString("utf8", start, this.at);
    // What takes the place of bytes that are no UTF-8 may also have been sent.
    if (text.includes("\uFFFD") && !isUtf8(this.bytes.subarray(start, this.at))) throw malformed("a text is not UTF-8", this.at);
    return text;
  }

  /** The varint read last, as a signed 64-bit number. */
  int64(): bigint {
    if (this.high < exactHigh) return BigInt(this.high * 0x1_0000_0000 + this.low);
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
  return new DomainError("INVALID_ARGUMENT", `The message cannot be decoded: ${what}, before byte ${at}.`, { reason: "MALFORMED_MESSAGE" });
}

/** A field's tag. */
export const field = (number: number, type: number) => (number << 3) | type;
