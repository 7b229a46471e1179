/** What a field can be replaced by, as bytes on the wire or as JSON: by names, so that a request that found something can be written down. */
import { type DescField, ScalarType } from "@bufbuild/protobuf";
import { heavyTexts, hostileTexts } from "./fuzz-texts.js";
import { lengthDelimited, tag, varint, wireType } from "./fuzz-wire.js";

/** Of a field's number, tag and all. */
type Encode = (number: number) => Buffer;
export type Values = Record<string, Encode>;

const entries = 100_000;
const int64Max = 2n ** 63n - 1n;

/** In varints. Times: the last second of the year 9999, and of what a JavaScript date can be. */
const numbers = [
  ...[0n, 1n, -1n, 2n, 100n, 1001n, 10_001n, 2n ** 31n - 1n, 2n ** 31n, -(2n ** 31n), -(2n ** 31n) - 1n, 2n ** 32n - 1n, 2n ** 32n],
  ...[2n ** 53n, 2n ** 53n + 1n, int64Max, -int64Max - 1n, 253_402_300_799n, 253_402_300_800n, -62_135_596_801n, 8_640_000_000_001n],
  ...[999_999_999n, 1_000_000_000n],
];
const doubles = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 5e-324, Number.MAX_VALUE, -1, 0.5, 2 ** 53 + 2];

const ofNumber = (encode: (value: bigint) => Encode): Values =>
  Object.fromEntries(numbers.map((value) => [`number ${value}`, encode(value)]));

const varints = ofNumber((value) => (number) => Buffer.concat([tag(number, wireType.varint), varint(value)]));
const zigzags = ofNumber((value) => (number) => Buffer.concat([tag(number, wireType.varint), varint((value << 1n) ^ (value >> 63n))]));
const floats: Values = Object.fromEntries(
  doubles.map((value) => [
    `number ${Object.is(value, -0) ? "-0" : value}`,
    (number: number) => fixed(number, wireType.fixed64, double(value)),
  ]),
);
const texts: Values = Object.fromEntries(
  Object.entries(hostileTexts).map(([name, text]) => [`text: ${name}`, (number: number) => lengthDelimited(number, text)]),
);

function repeat(count: number, unit: Buffer): Buffer {
  return Buffer.alloc(count * unit.length, unit);
}

function fixed(number: number, type: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([tag(number, type), bytes]);
}

function double(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return bytes;
}

/** No message has these: what a parser must refuse, or pass over. */
const malformed: Values = {
  absent: () => Buffer.alloc(0),
  "as a varint": (number) => Buffer.concat([tag(number, wireType.varint), varint(7n)]),
  "as 64 bits": (number) => fixed(number, wireType.fixed64, Buffer.alloc(8, 0xff)),
  "as 32 bits": (number) => fixed(number, wireType.fixed32, Buffer.alloc(4, 0xff)),
  "as bytes": (number) => lengthDelimited(number, Buffer.from([0xff, 0xff, 0xff])),
  "as a group": (number) => Buffer.concat([tag(number, wireType.startGroup), tag(number, wireType.endGroup)]),
  "a group without an end": (number) => tag(number, wireType.startGroup),
  "an end without a group": (number) => tag(number, wireType.endGroup),
  "a group that ends as another": (number) => Buffer.concat([tag(number, wireType.startGroup), tag(number + 1, wireType.endGroup)]),
  "groups in groups": (number) =>
    Buffer.concat([repeat(20_000, tag(number, wireType.startGroup)), repeat(20_000, tag(number, wireType.endGroup))]),
  "a million groups that begin": (number) => repeat(1_000_000, tag(number, wireType.startGroup)),
  "wire type 6": (number) => tag(number, 6),
  "wire type 7": (number) => tag(number, 7),
  "a varint cut off": (number) => Buffer.concat([tag(number, wireType.varint), Buffer.from([0xff, 0xff])]),
  "a varint of 11 bytes": (number) => Buffer.concat([tag(number, wireType.varint), Buffer.alloc(10, 0xff), Buffer.from([0x01])]),
  "a varint of zeros": (number) => Buffer.concat([tag(number, wireType.varint), Buffer.alloc(9, 0x80), Buffer.from([0x00])]),
  "a varint of more than 64 bits": (number) => Buffer.concat([tag(number, wireType.varint), Buffer.alloc(9, 0xff), Buffer.from([0x7f])]),
  "a length without bytes": (number) => Buffer.concat([tag(number, wireType.lengthDelimited), varint(5n)]),
  "a length of 2^31": (number) => Buffer.concat([tag(number, wireType.lengthDelimited), varint(2n ** 31n)]),
  "a length of 2^32 - 1": (number) => Buffer.concat([tag(number, wireType.lengthDelimited), varint(2n ** 32n - 1n)]),
  "a length of 2^64 - 1": (number) => Buffer.concat([tag(number, wireType.lengthDelimited), varint(-1n)]),
  "a length of eleven bytes": (number) => Buffer.concat([tag(number, wireType.lengthDelimited), Buffer.alloc(11, 0x80)]),
  "a tag in ten bytes": (number) =>
    Buffer.concat([tag(number, wireType.varint).map((byte) => byte | 0x80), Buffer.alloc(8, 0x80), Buffer.from([0, 0])]),
  "field number 0": () => Buffer.from([0x00, 0x01]),
  "field number 2^29": () => Buffer.concat([varint(2n ** 32n), Buffer.from([0x01])]),
  "100,000 unknown fields": () => repeat(entries, Buffer.from([0xf8, 0x7f, 0x01])),
};

const packed: Values = {
  "100,000 entries, packed": (number) => lengthDelimited(number, Buffer.alloc(entries, 1)),
  "100,000 entries, one by one": (number) => repeat(entries, Buffer.concat([tag(number, wireType.varint), varint(1n)])),
  "the same entry twice": (number) => lengthDelimited(number, Buffer.from([1, 1])),
  "a packed varint cut off": (number) => lengthDelimited(number, Buffer.from([1, 0xff])),
};
const listed: Values = {
  "100,000 empty entries": (number) => repeat(entries, lengthDelimited(number, Buffer.alloc(0))),
  "1,001 entries that differ": (number) =>
    Buffer.concat(Array.from({ length: 1001 }, (_, n) => lengthDelimited(number, Buffer.from(`entry ${n}`)))),
};
const messages: Values = {
  "an empty message": (number) => lengthDelimited(number, Buffer.alloc(0)),
  "the message twice": (number) => Buffer.concat([lengthDelimited(number, Buffer.alloc(0)), lengthDelimited(number, Buffer.alloc(0))]),
};
const mapEntry = (number: number, key: Uint8Array) =>
  lengthDelimited(number, Buffer.concat([lengthDelimited(1, key), Buffer.from([0x10, 0x01])]));
const maps: Values = {
  ...Object.fromEntries(Object.entries(hostileTexts).map(([name, text]) => [`key: ${name}`, (number: number) => mapEntry(number, text)])),
  "100,000 keys": (number) => Buffer.concat(Array.from({ length: entries }, (_, n) => mapEntry(number, Buffer.from(String(n))))),
  "a key without a value": (number) => lengthDelimited(number, lengthDelimited(1, Buffer.from("k"))),
};

/** Those that cost more to send or to read: tried now and then. */
export function isHeavy(value: string): boolean {
  return /^(100,000|a million|groups in)/.test(value) || [...heavyTexts].some((name) => value.endsWith(`: ${name}`));
}

/** What a field of a message can be replaced by. */
export function hostileValues(field: DescField): Values {
  return { ...malformed, ...valuesOf(field) };
}

function valuesOf(field: DescField): Values {
  switch (field.fieldKind) {
    case "map":
      return maps;
    case "message":
      return messages;
    case "enum":
      return varints;
    case "scalar":
      return scalarValues(field.scalar);
    case "list":
      if (field.listKind === "message") return { ...messages, ...listed };
      if (field.listKind === "enum") return { ...varints, ...packed };
      return isText(field.scalar) ? { ...texts, ...listed } : { ...scalarValues(field.scalar), ...packed };
  }
}

function isText(scalar: ScalarType): boolean {
  return scalar === ScalarType.STRING || scalar === ScalarType.BYTES;
}

function scalarValues(scalar: ScalarType): Values {
  if (isText(scalar)) return texts;
  if (scalar === ScalarType.DOUBLE) return floats;
  if (scalar === ScalarType.SINT32 || scalar === ScalarType.SINT64) return zigzags;
  return varints;
}

const inText = (text: string) => JSON.stringify(text);

/** JSON that a field's value can be replaced by, as it is written. */
export const hostileJson: Record<string, string> = {
  null: "null",
  true: "true",
  "an empty object": "{}",
  "an empty list": "[]",
  "an empty text": '""',
  "minus one": "-1",
  "a fraction": "1.5",
  "a number beyond 64 bits": "99999999999999999999",
  "a number beyond doubles": "1e400",
  "a text of a number beyond 64 bits": '"9223372036854775808"',
  "the least number, as a text": '"-9223372036854775808"',
  "not a number": "NaN",
  "not a number, as a text": '"NaN"',
  "a lone surrogate": '"\\ud800"',
  "a lone surrogate, backwards": '"x\\udfff\\ud800"',
  "an escaped nul": '"\\u0000"',
  "a nul": '"\0"',
  "a bad escape": '"\\x41"',
  "an open text": '"',
  "lists in lists": `${"[".repeat(100_000)}${"]".repeat(100_000)}`,
  "objects in objects": `${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}`,
  "a list of nulls": "[null,null]",
  "a key named __proto__": '{"__proto__":{"a":1},"constructor":1}',
  "a key twice": '{"a":1,"a":2}',
  "an unknown enum": '"NO_SUCH_VALUE"',
  "an unknown enum's number": "4711",
  "a time out of range": '"9999-12-31T23:59:60Z"',
  "a time of the year 10000": '"10000-01-01T00:00:00Z"',
  "parent directories": inText("/../../etc/passwd"),
  "bad base64": '"===="',
  "100 KB": inText("x".repeat(100_000)),
};
