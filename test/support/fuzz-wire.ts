/** Protobuf's wire format by hand: fields of good messages replaced, and bytes that no library would write. */
import { BinaryReader } from "@bufbuild/protobuf/wire";

export const wireType = { varint: 0, fixed64: 1, lengthDelimited: 2, startGroup: 3, endGroup: 4, fixed32: 5 } as const;

/** In as few bytes as it takes; of a negative number, the ten of its 64 bits. */
export function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

export function tag(number: number, type: number): Buffer {
  return varint((BigInt(number) << 3n) | BigInt(type));
}

export function lengthDelimited(number: number, payload: Uint8Array): Buffer {
  return Buffer.concat([tag(number, wireType.lengthDelimited), varint(BigInt(payload.length)), payload]);
}

/**
 * A good message whose field at `path` (numbers, from the outermost in) is what `encoded` says, tag and all. Of a message on the way the
 * first is meant, and one that is not there is made.
 */
export function replaceField(message: Uint8Array, path: readonly number[], encoded: Uint8Array): Buffer {
  const [number, ...inner] = path as [number, ...number[]];
  const kept: Uint8Array[] = [];
  let changed: Uint8Array | undefined;
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [found, type] = reader.tag();
    const value = reader.skip(type, found);
    if (found !== number) kept.push(message.subarray(start, reader.pos));
    else if (inner.length > 0 && changed !== undefined) kept.push(message.subarray(start, reader.pos));
    else if (inner.length > 0) changed = lengthDelimited(number, replaceField(withoutLength(value), inner, encoded));
  }
  if (inner.length > 0) changed ??= lengthDelimited(number, replaceField(new Uint8Array(), inner, encoded));
  return Buffer.concat([...kept, changed ?? encoded]);
}

/** What a reader skips of a length-delimited field begins with its length. */
function withoutLength(value: Uint8Array): Uint8Array {
  return new BinaryReader(value).bytes();
}
