/** A request of fuzz-request.ts as it is sent: path, headers, body. */
import * as zlib from "node:zlib";
import { create, type DescMessage, type DescMethod, fromJson, type JsonObject, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { type Damage, type FuzzFurnishings, type FuzzRequest, fieldPlaces, goodRequests, messageOf, methodOf } from "./fuzz-request.js";
import { hostileJson, hostileValues } from "./fuzz-values.js";
import { replaceField } from "./fuzz-wire.js";

export interface EncodedRequest {
  path: string;
  headers: Record<string, string>;
  body: Buffer;
}

const bombBytes = 256 * 1024 * 1024;
let bombs: { gzip: Buffer; br: Buffer } | undefined;

/** A message of 256 MiB of zeros, compressed: made when it is first asked for. */
function bomb(encoding: string): Buffer {
  bombs ??= {
    gzip: zlib.gzipSync(Buffer.alloc(bombBytes)),
    br: zlib.brotliCompressSync(Buffer.alloc(bombBytes), { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } }),
  };
  return encoding === "br" ? bombs.br : bombs.gzip;
}

export function encodeRequest(request: FuzzRequest, furnishings: FuzzFurnishings): EncodedRequest {
  const method = methodOf(request.method);
  const isJson = request.transport.includes("json");
  const isUnary = method.methodKind === "unary";
  // Connect's unary calls alone have a body without frames.
  const isFramed = !/^(connect|json)/.test(request.transport) || !isUnary;
  const messages = messagesOf(request, method, furnishings, isJson);
  const headers: Record<string, string> = { "content-type": contentType(request, isUnary) };
  if (/^(connect|json)/.test(request.transport)) headers["connect-protocol-version"] = "1";
  if (/^grpc(?!-web)/.test(request.transport)) headers.te = "trailers";
  const { damage } = request;
  let body: Buffer;
  if (damage?.kind === "compressed") {
    headers[encodingHeader(request, isUnary)] = damage.encoding;
    const compressed = messages.map((message) => compress(message, damage));
    body = isFramed ? Buffer.concat(compressed.map((message) => frame(message, 1))) : Buffer.concat(compressed);
  } else {
    body = isFramed ? Buffer.concat(messages.map((message) => frame(message, 0))) : Buffer.concat(messages);
    if (damage !== undefined) body = damaged(body, damage);
  }
  return { path: `/${request.method}`, headers: { ...headers, ...request.headers }, body };
}

function contentType({ transport }: FuzzRequest, isUnary: boolean): string {
  if (transport.startsWith("grpc-web")) return "application/grpc-web+proto";
  if (transport === "grpc") return "application/grpc";
  if (transport === "grpc in json") return "application/grpc+json";
  const encoding = transport.startsWith("json") ? "json" : "proto";
  return isUnary ? `application/${encoding}` : `application/connect+${encoding}`;
}

function encodingHeader({ transport }: FuzzRequest, isUnary: boolean): string {
  if (transport.startsWith("grpc")) return "grpc-encoding";
  return isUnary ? "content-encoding" : "connect-content-encoding";
}

function messagesOf(request: FuzzRequest, method: DescMethod, furnishings: FuzzFurnishings, isJson: boolean): Buffer[] {
  const good = request.base < 0 ? [{}] : (goodRequests(method, furnishings)[request.base] ?? [{}]);
  // What is to be changed has to be there.
  const count = Math.max(good.length, ...request.edits.map(({ message }) => message + 1));
  return Array.from({ length: count }, (_, no) => {
    const edits = request.edits.filter(({ message }) => message === no);
    if (isJson)
      return Buffer.from(edits.reduce((text, { path, value }) => inJson(method.input, text, path, value), JSON.stringify(good[no] ?? {})));
    const message = good[no] === undefined ? create(method.input) : fromJson(method.input, good[no]);
    return edits.reduce<Buffer>(
      (bytes, { path, value }) => replaceLast(bytes, path, encodeValue(method.input, path, value)),
      Buffer.from(toBinary(method.input, message)),
    );
  });
}

/** After an edit that left bytes that are no message, another one finds no place in them: it goes to the end. */
function replaceLast(bytes: Buffer, path: readonly number[], encoded: Buffer): Buffer {
  try {
    return replaceField(bytes, path, encoded);
  } catch {
    return Buffer.concat([bytes, encoded]);
  }
}

function encodeValue(message: DescMessage, path: readonly number[], value: string): Buffer {
  if (value.startsWith("hex:")) return Buffer.from(value.slice(4), "hex");
  const place = fieldPlaces(message).find((one) => one.path.join() === path.join());
  const encode = place && hostileValues(place.field)[value];
  if (encode === undefined) throw new Error(`${message.typeName} has no field ${path.join(".")}, or it no value ${JSON.stringify(value)}`);
  return encode(path.at(-1) as number);
}

const mark = "here goes what is no JSON value";

/** The text with what is at the path replaced by something that may be no JSON at all. */
function inJson(message: DescMessage, text: string, path: readonly number[], value: string): string {
  const fragment = value.startsWith("json:") ? value.slice(5) : hostileJson[value];
  if (fragment === undefined) throw new Error(`there is no JSON named ${JSON.stringify(value)}`);
  try {
    const json = JSON.parse(text) as JsonObject;
    setIn(message, json, path);
    // Not as a pattern of `replace`: the fragment may have $ in it.
    return JSON.stringify(json).split(JSON.stringify(mark)).join(fragment);
  } catch {
    // An edit before this one left no JSON, or what is too deep for this process.
    return text + fragment;
  }
}

function setIn(message: DescMessage, json: JsonObject, [number, ...inner]: readonly number[]): void {
  const field = message.fields.find((one) => one.number === number);
  if (field === undefined) throw new Error(`${message.typeName} has no field ${number}`);
  if (inner.length === 0) {
    json[field.jsonName] = mark;
    return;
  }
  const isList = field.fieldKind === "list";
  const there = json[field.jsonName];
  const found = isList ? (there as JsonValue[] | undefined)?.[0] : there;
  const next: JsonObject = typeof found === "object" && found !== null ? (found as JsonObject) : {};
  json[field.jsonName] = isList ? [next] : next;
  setIn(messageOf(field) as DescMessage, next, inner);
}

export function frame(message: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function compress(message: Buffer, { encoding, content }: Extract<Damage, { kind: "compressed" }>): Buffer {
  if (content === "bomb") return bomb(encoding);
  if (content === "garbage") return Buffer.from("\x1f\x8b\x08garbage", "latin1");
  const good = encoding === "br" ? zlib.brotliCompressSync(message) : zlib.gzipSync(message);
  return content === "cut" ? good.subarray(0, good.length >> 1) : good;
}

function damaged(body: Buffer, damage: Exclude<Damage, { kind: "compressed" }>): Buffer {
  switch (damage.kind) {
    case "cut":
      return body.subarray(0, -1);
    case "empty":
      return Buffer.alloc(0);
    case "twice":
      return Buffer.concat([body, body]);
    case "cut at":
      return body.subarray(0, Math.floor(body.length * damage.at));
    case "insert": {
      const at = Math.floor(body.length * damage.at);
      return Buffer.concat([body.subarray(0, at), Buffer.from(damage.hex, "hex"), body.subarray(at)]);
    }
    case "flip": {
      if (body.length === 0) return body;
      const at = Math.min(body.length - 1, Math.floor(body.length * damage.at));
      body[at] = (body[at] as number) ^ damage.bits;
      return body;
    }
    case "flags":
      if (body.length > 0) body[0] = damage.value;
      return body;
    case "length":
      if (body.length >= 5) body.writeUInt32BE(damage.value, 1);
      return body;
  }
}
