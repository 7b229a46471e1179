/**
 * Requests that are wrong on purpose, described so that they can be written down and sent again: a good request of rpc-cases.ts (or an
 * empty one) with some of its fields replaced, and the bytes that come of it damaged.
 */
import type { DescField, DescMessage, DescMethod, JsonObject } from "@bufbuild/protobuf";
import { services } from "../../src/rpc/routes.js";
import type { Furnishings } from "./furnished-tenant.js";
import { hostileJson, hostileValues, isHeavy } from "./fuzz-values.js";
import { type Messages, rpcCases } from "./rpc-cases.js";

export const transports = [
  "grpc",
  "grpc-web",
  "connect",
  "json",
  "grpc in json",
  // On the HTTP port.
  "grpc-web over http/1.1",
  "connect over http/1.1",
  "json over http/1.1",
] as const;
export type Transport = (typeof transports)[number];

export interface Edit {
  /** Of a client's stream, which message; a request of one message is 0. */
  message: number;
  /** Numbers of fields, from the outermost in. */
  path: number[];
  /** Name of a value in fuzz-values.ts, or `hex:` and the bytes of the field with its tag. In JSON a name there, or `json:` and the text. */
  value: string;
}

/** What is done to the bytes of the request's body; `at` is a part of its length, from 0 to 1. */
export type Damage =
  | { kind: "cut" | "empty" | "twice" }
  | { kind: "cut at"; at: number }
  | { kind: "insert"; at: number; hex: string }
  | { kind: "flip"; at: number; bits: number }
  /** Of the first frame. */
  | { kind: "flags"; value: number }
  | { kind: "length"; value: number }
  | { kind: "compressed"; encoding: string; content: "good" | "bomb" | "cut" | "garbage" };

export interface FuzzRequest {
  /** frostline.v1.ScanService/GetScan */
  method: string;
  transport: Transport;
  /** Which of the method's good requests; -1: without a value in any field. */
  base: number;
  edits: Edit[];
  damage?: Damage | undefined;
  /** On top of the usual ones, or in their place. */
  headers?: Record<string, string> | undefined;
}

export const methods: readonly DescMethod[] = services.flatMap((service): DescMethod[] => [...service.methods]);

/** They have no end of their own. */
export const endless = new Set(["WatchWarming", "Watch"]);

export function nameOf(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

export function methodOf(name: string): DescMethod {
  const found = methods.find((method) => nameOf(method) === name);
  if (found === undefined) throw new Error(`${name} is no call of the server`);
  return found;
}

/** Calls that need no key have no cases in rpc-cases.ts. */
const probeCases: Record<string, Messages[]> = {
  "Health/Check": [[{ service: "frostline.v1.ScanService" }]],
  "Health/Watch": [[{ service: "" }]],
  "ServerReflection/ServerReflectionInfo": [[{ listServices: "" }, { fileContainingSymbol: "frostline.v1.ScanService" }]],
};

export interface FuzzFurnishings extends Furnishings {
  /** That the running scan takes from the writer named as `word`. */
  nextChunkNo: bigint;
  /** Nothing of it was pushed yet. */
  freshAuditFile: string;
}

/** Good requests, each with its messages, as JSON. */
export function goodRequests({ parent, name }: DescMethod, of: FuzzFurnishings): Messages[] {
  const key = `${parent.name}/${name}`;
  const requests = rpcCases[key]?.(of) ?? probeCases[key] ?? [];
  return requests.map((messages) => messages.map((message) => fresh(message, of)));
}

/** What was pushed before is passed over: the next one must be new. */
function fresh(message: JsonObject, { nextChunkNo, freshAuditFile }: FuzzFurnishings): JsonObject {
  if (message.chunk !== undefined) return { ...message, chunk: { ...(message.chunk as JsonObject), chunkNo: String(nextChunkNo) } };
  if (message.batch !== undefined) return { ...message, batch: { ...(message.batch as JsonObject), auditFilePath: freshAuditFile } };
  return message;
}

const anyNames = new Proxy({}, { get: () => "1" }) as FuzzFurnishings;

/** How many there are. */
export function countGood(method: DescMethod): number {
  return goodRequests(method, anyNames).length;
}

export interface FieldPlace {
  path: number[];
  field: DescField;
}

const placesOf = new Map<DescMessage, FieldPlace[]>();

/** Every field of a message, at any depth. */
export function fieldPlaces(message: DescMessage, above: DescMessage[] = []): FieldPlace[] {
  const known = placesOf.get(message);
  if (known !== undefined) return known;
  if (above.includes(message)) return [];
  const places = message.fields.flatMap((field): FieldPlace[] => {
    const inner = messageOf(field);
    const below = inner === undefined ? [] : fieldPlaces(inner, [...above, message]);
    return [{ path: [field.number], field }, ...below.map((place) => ({ ...place, path: [field.number, ...place.path] }))];
  });
  placesOf.set(message, places);
  return places;
}

export function messageOf(field: DescField): DescMessage | undefined {
  return field.fieldKind === "message" || (field.fieldKind === "list" && field.listKind === "message") ? field.message : undefined;
}

/** Of a client's stream, the message that a path belongs to: `open` is the first. */
export function messageNo(method: DescMethod, path: readonly number[]): number {
  return method.methodKind === "client_streaming" && path[0] === 2 ? 1 : 0;
}

/** One request for each field and each value that it can be replaced by, and each JSON in its place; what is heavy for outer fields alone. */
export function* everyEdit(): Generator<FuzzRequest> {
  for (const method of methods) {
    for (const { path, field } of fieldPlaces(method.input)) {
      const edit = (value: string) => [{ message: messageNo(method, path), path, value }];
      const base = Math.min(0, countGood(method) - 1);
      for (const value of Object.keys(hostileValues(field)).filter((name) => path.length === 1 || !isHeavy(name)))
        yield { method: nameOf(method), transport: "grpc", base, edits: edit(value) };
      for (const value of Object.keys(hostileJson))
        yield { method: nameOf(method), transport: "json over http/1.1", base, edits: edit(value) };
    }
  }
}
