/**
 * Arrays as binary parameters (https://www.postgresql.org/docs/current/protocol-message-formats.html says that a parameter may be binary, the form is
 * that of array_recv): for tens of thousands of elements neither side writes or reads numbers as text. A parameter must be cast to the
 * array's very type: what is sent as bigint[] is not taken for integer[].
 */

const headerBytes = 20;
/** Of PostgreSQL's catalogue: pg_type.oid. */
const oids = { boolean: 16, bigint: 20, integer: 23, text: 25 };

/** For a parameter that is cast to bigint[]. */
export function bigintArray(values: readonly (bigint | undefined)[]): Buffer {
  let nulls = 0;
  for (const value of values) if (value === undefined) nulls += 1;
  const bytes = begin(oids.bigint, values.length, nulls, 12 * values.length - 8 * nulls);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = headerBytes;
  for (const value of values) {
    view.setInt32(at, value === undefined ? -1 : 8);
    at += 4;
    if (value === undefined) continue;
    view.setBigInt64(at, value);
    at += 8;
  }
  return bytes;
}

/** For a parameter that is cast to integer[]. */
export function integerArray(values: readonly number[]): Buffer {
  const bytes = begin(oids.integer, values.length, 0, 8 * values.length);
  let at = headerBytes;
  for (const value of values) at = bytes.writeInt32BE(value, bytes.writeInt32BE(4, at));
  return bytes;
}

/** For a parameter that is cast to boolean[]. */
export function booleanArray(values: readonly boolean[]): Buffer {
  const bytes = begin(oids.boolean, values.length, 0, 5 * values.length);
  let at = headerBytes;
  for (const value of values) at = bytes.writeUInt8(value ? 1 : 0, bytes.writeInt32BE(1, at));
  return bytes;
}

/** For a parameter that is cast to text[]. */
export function textArray(values: readonly string[]): Buffer {
  let size = 4 * values.length;
  for (const value of values) size += Buffer.byteLength(value);
  const bytes = begin(oids.text, values.length, 0, size);
  let at = headerBytes;
  for (const value of values) {
    const length = bytes.write(value, at + 4);
    bytes.writeInt32BE(length, at);
    at += 4 + length;
  }
  return bytes;
}

/** Of one dimension, counted from 1. */
function begin(oid: number, elements: number, nulls: number, bodyBytes: number): Buffer {
  const bytes = Buffer.allocUnsafe(headerBytes + bodyBytes);
  bytes.writeInt32BE(1, 0);
  bytes.writeInt32BE(nulls > 0 ? 1 : 0, 4);
  bytes.writeInt32BE(oid, 8);
  bytes.writeInt32BE(elements, 12);
  bytes.writeInt32BE(1, 16);
  return bytes;
}
