/** Random requests of fuzz-request.ts. */
import type { DescMethod } from "@bufbuild/protobuf";
import fc from "fast-check";
import {
  countGood,
  type Damage,
  type Edit,
  type FieldPlace,
  type FuzzRequest,
  fieldPlaces,
  messageNo,
  methods,
  nameOf,
  type Transport,
} from "./fuzz-request.js";
import { hostileJson, hostileValues, isHeavy } from "./fuzz-values.js";
import { lengthDelimited, tag, varint } from "./fuzz-wire.js";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const part = fc.double({ min: 0, max: 1, noNaN: true });

/** Calls that take streams are made of more than their first message, and what scans and agents send is read by code of our own. */
const weights: Record<string, number> = { PushScan: 8, PushAudit: 8, ApplyRules: 3, Preview: 2, ReportTierObjects: 2 };

/** Nothing is to be had out of it but time: it sends to addresses elsewhere, or erases for up to 20 s. */
const rare = new Set(["SendTestEvent", "EraseShare", "EraseTenant", "ErasePerson", "RunJob"]);

const transportOf: fc.Arbitrary<Transport> = fc.oneof(
  { weight: 12, arbitrary: fc.constant("grpc" as const) },
  { weight: 3, arbitrary: fc.constant("grpc-web" as const) },
  { weight: 2, arbitrary: fc.constant("connect" as const) },
  { weight: 2, arbitrary: fc.constant("grpc-web over http/1.1" as const) },
  { weight: 1, arbitrary: fc.constant("connect over http/1.1" as const) },
);

const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.constantFrom<Damage>({ kind: "cut" }, { kind: "empty" }, { kind: "twice" }),
  fc.record({ kind: fc.constant("cut at" as const), at: part }),
  fc.record({ kind: fc.constant("insert" as const), at: part, hex: fc.uint8Array({ minLength: 1, maxLength: 12 }).map(hex) }),
  fc.record({ kind: fc.constant("flip" as const), at: part, bits: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ kind: fc.constant("flags" as const), value: fc.integer({ min: 1, max: 255 }) }),
  fc.record({
    kind: fc.constant("length" as const),
    value: fc.constantFrom(0, 1, 4 * 1024 * 1024, 4 * 1024 * 1024 + 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1),
  }),
  fc.record({
    kind: fc.constant("compressed" as const),
    encoding: fc.constantFrom("gzip", "br", "identity", "deflate", "zstd", "gzip, gzip", ""),
    content: fc.constantFrom("good", "good", "bomb", "cut", "garbage"),
  }),
);

/** Values that HTTP/2 can carry; the names are of headers that the server looks at. */
const headers = fc.dictionary(
  fc.constantFrom(
    ...["grpc-timeout", "connect-timeout-ms", "x-request-id", "traceparent", "tracestate", "grpc-encoding", "grpc-accept-encoding"],
    ...["content-type", "content-encoding", "connect-protocol-version", "accept-encoding", "user-agent", "origin", "x-user-agent"],
  ),
  fc.oneof(
    fc.constantFrom("", "1n", "1S", "99999999H", "99999999999999999999S", "-1m", "0m", "abc", "1", "-1", "1e9", "NaN", "999999999999999"),
    fc.constantFrom("gzip", "br", "identity", "unknown", "gzip,br,", "trailers", "application/grpc", "application/grpc+json", "text/html"),
    fc.constantFrom("application/grpc-web-text", "application/proto; charset=utf-16", "application/connect+json", "application/grpc;;"),
    fc.constantFrom("00-00000000000000000000000000000000-0000000000000000-ff", "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-01"),
    fc.constantFrom("x".repeat(8000), "a=1,".repeat(1500), "\t", "é", "%00%0d%0a", "__proto__"),
    fc.string({ minLength: 1, maxLength: 40, unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)) }),
  ),
  { minKeys: 1, maxKeys: 2 },
);

const randomNumber = fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -2n, max: 20_000n }));
const randomText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60 }).map((text) => Buffer.from(text)),
  fc.string({ unit: "grapheme", maxLength: 250 }).map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 60 }),
);

/** Of what kind the field is does not matter: the other kind is a wrong wire type. */
function randomValue({ path }: FieldPlace): fc.Arbitrary<string> {
  const number = path.at(-1) as number;
  return fc.oneof(
    randomNumber.map((value) => `hex:${hex(Buffer.concat([tag(number, 0), varint(value)]))}`),
    randomText.map((text) => `hex:${hex(lengthDelimited(number, text))}`),
    fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => `hex:${hex(bytes)}`),
  );
}

function namedValue({ field }: FieldPlace): fc.Arbitrary<string> {
  const names = Object.keys(hostileValues(field));
  const heavy = names.filter(isHeavy);
  const light = fc.constantFrom(...names.filter((name) => !isHeavy(name)));
  return heavy.length === 0 ? light : fc.oneof({ weight: 300, arbitrary: light }, { weight: 1, arbitrary: fc.constantFrom(...heavy) });
}

const jsonValue = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...Object.keys(hostileJson)) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 4, stringUnit: "binary" }).map((value) => `json:${JSON.stringify(value)}`) },
  { weight: 1, arbitrary: fc.string({ maxLength: 20 }).map((text) => `json:${text}`) },
);

function editOf(method: DescMethod, value: (place: FieldPlace) => fc.Arbitrary<string>): fc.Arbitrary<Edit[]> {
  const places = fieldPlaces(method.input);
  if (places.length === 0) return fc.constant([]);
  const edits = places.map((place) =>
    value(place).map((chosen): Edit => ({ message: messageNo(method, place.path), path: place.path, value: chosen })),
  );
  // Without one it is a good request, unless something else is wrong with it.
  return fc.array(fc.oneof(...edits), { minLength: 1, maxLength: 3 });
}

function oneIn<T>(times: number, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.oneof({ weight: times - 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
}

function requestOf(method: DescMethod): fc.Arbitrary<FuzzRequest> {
  const name = fc.constant(nameOf(method));
  const most = countGood(method) - 1;
  const base = fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: Math.min(0, most), max: most }) },
    { weight: 1, arbitrary: fc.constant(-1) },
  );
  const disturbed = { damage: oneIn(5, damage), headers: oneIn(12, headers) };
  const binary = fc.record({
    method: name,
    transport: transportOf,
    base,
    edits: editOf(method, (place) => fc.oneof({ weight: 3, arbitrary: namedValue(place) }, { weight: 1, arbitrary: randomValue(place) })),
    ...disturbed,
  });
  const json = fc.record({
    method: name,
    transport: fc.constantFrom<Transport>("json", "grpc in json", "json over http/1.1"),
    base,
    edits: editOf(method, () => jsonValue),
    ...disturbed,
  });
  return fc.oneof({ weight: 8, arbitrary: binary }, { weight: 1, arbitrary: json });
}

function weightOf(method: DescMethod): number {
  if (rare.has(method.name)) return 1;
  // Little can be wrong with it.
  if (fieldPlaces(method.input).length === 0) return 3;
  return 20 * (weights[method.name] ?? 1);
}

/** Any call, wrong in any way. */
export const anyRequest: fc.Arbitrary<FuzzRequest> = fc.oneof(
  ...methods.map((method) => ({ weight: weightOf(method), arbitrary: requestOf(method) })),
);
