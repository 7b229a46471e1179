/** Lines of a LucidLink audit trail, in the words of the contract. Pure. */
import { isUtf8 } from "node:buffer";
import { create } from "@bufbuild/protobuf";
import { AuditAction, type AuditEvent, AuditEventSchema } from "../../gen/frostline/v1/audit_pb.js";

/** Where LucidLink keeps the trail, at the filespace's root. */
export const trailDirectory = ".lucid_audit";

export interface ParsedLine {
  event: AuditEvent;
  /** `filespaceUuid`: names of filespaces change. Empty when the line does not say. */
  volumeId: string;
}

/**
 * What is not in here changes nothing that is kept: attributes, pins, and symbolic links, which the inventory does not
 * record. Such events are sent all the same, to be counted.
 */
const actions = new Map<string, AuditAction>([
  ["FileRead", AuditAction.READ],
  ["PreHydrate", AuditAction.PREFETCH],
  ["FileWritten", AuditAction.WRITE],
  ["FileCreate", AuditAction.CREATE_FILE],
  ["DirectoryCreate", AuditAction.CREATE_DIRECTORY],
  ["Move", AuditAction.MOVE],
  ["FileDelete", AuditAction.DELETE_FILE],
  ["DirectoryDelete", AuditAction.DELETE_DIRECTORY],
]);

const largestInt64 = 2n ** 63n - 1n;
/** Halves of a surrogate pair have no UTF-8, and PostgreSQL stores no NUL. */
const notStorable = /[\p{Surrogate}\0]/u;
const notStorableAll = /[\p{Surrogate}\0]/gu;

/**
 * The event of one line, given without its line end, that begins at byte `offset` of its file. Never throws: of a line that
 * can't be read, the event says why in `refusedReason`.
 */
export function parseLine(line: Uint8Array, offset: number): ParsedLine {
  const read = readLine(line);
  if (typeof read === "string") return { event: refusedEvent(offset, read), volumeId: "" };
  return { event: create(AuditEventSchema, { offset: BigInt(offset), ...read.fields }), volumeId: read.volumeId };
}

/** The event of a line that can't be read. */
export function refusedEvent(offset: number, refusedReason: string): AuditEvent {
  return create(AuditEventSchema, { offset: BigInt(offset), refusedReason });
}

type Fields = Pick<AuditEvent, "timeMicros" | "action" | "path" | "targetPath" | "user" | "host" | "node" | "actionName">;

/** What a line says, or why it can't be read. */
function readLine(line: Uint8Array): { fields: Fields; volumeId: string } | string {
  const record = parseObject(line);
  if (typeof record === "string") return record;
  const timeMicros = microsOf(record.timestamp);
  if (timeMicros === undefined) return `timestamp ${missingOr(record.timestamp, "is no whole number of microseconds since 1970")}`;
  const operation = objectOf(record.operation);
  const actionName = operation.action;
  if (typeof actionName !== "string" || actionName === "") return `operation.action ${missingOr(actionName, "is no text")}`;
  const path = operation.entryPath;
  if (!isPath(path)) return `operation.entryPath ${missingOr(path, whatIsAPath)}`;
  const passedOver = isOfTrail(path, operation.targetPath) || isWorkFile(path);
  const action = passedOver ? AuditAction.UNSPECIFIED : (actions.get(actionName) ?? AuditAction.UNSPECIFIED);
  let targetPath = "";
  if (action === AuditAction.MOVE) {
    if (!isPath(operation.targetPath)) return `operation.targetPath ${missingOr(operation.targetPath, whatIsAPath)}`;
    targetPath = operation.targetPath;
  }
  const user = objectOf(record.user);
  const event = objectOf(record.event);
  const fields: Fields = {
    timeMicros,
    action,
    path,
    targetPath,
    user: textOf(user.name) || textOf(user.id),
    host: textOf(objectOf(record.device).hostName),
    node: textOf(event.nodeId),
    actionName: textOf(actionName),
  };
  return { fields, volumeId: textOf(event.filespaceUuid) };
}

function parseObject(line: Uint8Array): Record<string, unknown> | string {
  if (!isUtf8(line)) return "the line is not UTF-8";
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString("utf8"));
  } catch {
    // The parser's own words quote the line, and differ from one version to the next.
    return line.length === 0 ? "the line is empty" : "the line is not JSON";
  }
  return isObject(value) ? value : "the line is not a JSON object";
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function objectOf(value: unknown): Record<string, unknown> {
  return isObject(value) ? value : {};
}

function microsOf(value: unknown): bigint | undefined {
  if (typeof value === "number") return Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : undefined;
  if (typeof value !== "string" || !/^\d{1,19}$/.test(value)) return undefined;
  const micros = BigInt(value);
  return micros <= largestInt64 ? micros : undefined;
}

const whatIsAPath = "is no path that starts with / and can be written in UTF-8";

function isPath(value: unknown): value is string {
  return typeof value === "string" && value.startsWith("/") && !notStorable.test(value);
}

/** The trail's own files: whoever reads the trail, this agent too, is told of in it. What is moved out of it counts. */
function isOfTrail(path: string, targetPath: unknown): boolean {
  return isInTrail(path) && (typeof targetPath !== "string" || isInTrail(targetPath));
}

/**
 * Movers make stubs, and files that come back, below this directory. What they move out of it takes a file's place and is the
 * same file; the mover reports it. Taken for a move, it would end the file that was there.
 */
function isWorkFile(path: string): boolean {
  return path === "/.frostline" || path.startsWith("/.frostline/");
}

function isInTrail(path: string): boolean {
  return path === `/${trailDirectory}` || path.startsWith(`/${trailDirectory}/`);
}

/** Text or a number, as text. Only told to people and compared: what can't be stored of it becomes U+FFFD. */
function textOf(value: unknown): string {
  if (typeof value === "number") return String(value);
  return typeof value === "string" ? value.replace(notStorableAll, "\uFFFD") : "";
}

function missingOr(value: unknown, fault: string): string {
  return value === undefined || value === null || value === "" ? "is missing" : fault;
}
