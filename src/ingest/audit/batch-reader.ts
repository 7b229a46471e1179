/**
 * Reads a frostline.v1.AuditBatch from its bytes. A stream keeps batches as bytes until they are applied: as objects, events take ten
 * times the memory, and decoding them through messages took twice the time.
 *
 * As the wire format wants, unknown fields are skipped, and of a field that comes twice the last counts.
 */
import { invalidField } from "../../tenancy/validate.js";
import { Cursor, field, lengthDelimited, varint } from "../wire-cursor.js";
import type { AuditAction, Batch, ReceivedEvent } from "./events.js";

/** By their number in the contract. One that this server does not know is nothing that it could apply. */
const actions: AuditAction[] = [
  "OTHER",
  "READ",
  "PREFETCH",
  "WRITE",
  "CREATE_FILE",
  "CREATE_DIRECTORY",
  "MOVE",
  "DELETE_FILE",
  "DELETE_DIRECTORY",
];
/** Microseconds of the years 0001 and 9999: what a timestamptz, and any calendar, can show. */
const earliestMicros = -62_135_596_800_000_000n;
const latestMicros = 253_402_300_799_999_999n;
/** It is part of a key: an index takes no more than 2,704 bytes, with tenant and volume. */
const auditFilePathBytesAtMost = 2000;
/** Of a user's or a host's name. */
const nameCharactersAtMost = 1000;

/** How many events a batch has. Throws INVALID_ARGUMENT for bytes that are none. */
export function countEvents(bytes: Uint8Array): number {
  const cursor = new Cursor(bytes, 0);
  let events = 0;
  while (cursor.at < bytes.length) {
    const tag = cursor.tag(bytes.length);
    if (tag === field(5, lengthDelimited)) events += 1;
    cursor.skip(tag, bytes.length);
  }
  return events;
}

/** Throws INVALID_ARGUMENT for bytes that are no batch, and for a batch that is not as the contract says. */
export function readBatch(bytes: Uint8Array): Batch {
  const end = bytes.length;
  const cursor = new Cursor(bytes, 0);
  const batch: Batch = {
    auditFilePath: "",
    headFingerprint: new Uint8Array(),
    startOffset: 0n,
    endOffset: 0n,
    restarted: false,
    events: [],
  };
  const texts = new RepeatedTexts();
  while (cursor.at < end) {
    const tag = cursor.tag(end);
    switch (tag) {
      case field(1, lengthDelimited):
        batch.auditFilePath = cursor.text(end);
        break;
      case field(2, lengthDelimited):
        batch.headFingerprint = cursor.slice(end);
        break;
      case field(3, varint):
        cursor.varint(end);
        batch.startOffset = cursor.int64();
        break;
      case field(4, varint):
        cursor.varint(end);
        batch.endOffset = cursor.int64();
        break;
      case field(5, lengthDelimited): {
        const length = cursor.length(end);
        batch.events.push(readEvent(cursor, cursor.at + length, texts));
        break;
      }
      case field(6, varint):
        cursor.varint(end);
        batch.restarted = cursor.low !== 0 || cursor.high !== 0;
        break;
      default:
        cursor.skip(tag, end);
    }
  }
  check(batch);
  return batch;
}

function readEvent(cursor: Cursor, end: number, texts: RepeatedTexts): ReceivedEvent {
  const event: ReceivedEvent = {
    eventId: "",
    offset: 0n,
    timeMicros: 0n,
    action: "OTHER",
    path: "",
    targetPath: "",
    user: "",
    host: "",
    node: "",
    actionName: "",
    refusedReason: "",
  };
  while (cursor.at < end) {
    const tag = cursor.tag(end);
    switch (tag) {
      case field(1, varint):
        cursor.varint(end);
        event.offset = cursor.int64();
        break;
      case field(2, varint):
        cursor.varint(end);
        event.timeMicros = cursor.int64();
        break;
      case field(3, varint):
        cursor.varint(end);
        event.action = (cursor.high === 0 && actions[cursor.low]) || "OTHER";
        break;
      case field(4, lengthDelimited):
        event.path = cursor.text(end);
        break;
      case field(5, lengthDelimited):
        event.targetPath = cursor.text(end);
        break;
      case field(6, lengthDelimited):
        event.user = texts.read(cursor, end, 0);
        break;
      case field(7, lengthDelimited):
        event.host = texts.read(cursor, end, 1);
        break;
      case field(8, lengthDelimited):
        event.node = texts.read(cursor, end, 2);
        break;
      case field(9, lengthDelimited):
        event.actionName = texts.read(cursor, end, 3);
        break;
      case field(10, lengthDelimited):
        event.refusedReason = cursor.text(end);
        break;
      default:
        cursor.skip(tag, end);
    }
  }
  return event;
}

/** Texts that often are those of the event before: one string then serves both. */
class RepeatedTexts {
  readonly #last = Array.from({ length: 4 }, () => ({ start: 0, length: 0, text: "" }));

  read(cursor: Cursor, end: number, slot: number): string {
    const last = this.#last[slot] as { start: number; length: number; text: string };
    const length = cursor.length(end);
    const start = cursor.at;
    if (length === last.length && isSame(cursor.bytes, last.start, start, length)) cursor.at += length;
    else Object.assign(last, { start, length, text: cursor.textOf(length) });
    return last.text;
  }
}

function isSame(bytes: Uint8Array, first: number, second: number, length: number): boolean {
  for (let at = 0; at < length; at += 1) if (bytes[first + at] !== bytes[second + at]) return false;
  return true;
}

/** Events of a batch lie in it, one behind the other. */
function check({ auditFilePath, startOffset, endOffset, events }: Batch): void {
  if (auditFilePath === "" || Buffer.byteLength(auditFilePath) > auditFilePathBytesAtMost || auditFilePath.includes("\0"))
    throw invalidField("audit_file_path", `must have 1 to ${auditFilePathBytesAtMost} bytes, and no NUL.`);
  if (startOffset < 0n || endOffset < startOffset) throw invalidField("start_offset, end_offset", "are not in order.");
  let last = startOffset - 1n;
  for (const event of events) {
    if (event.offset <= last || event.offset >= endOffset)
      throw invalidField("events.offset", `is ${event.offset}: outside its batch, or not in order.`);
    last = event.offset;
    if (event.refusedReason === "" && (event.timeMicros < earliestMicros || event.timeMicros > latestMicros))
      event.refusedReason = "the time is outside the years 0001 to 9999";
    event.user = storable(event.user);
    event.host = storable(event.host);
  }
}

/** No text of PostgreSQL holds NUL, and a name of a user or host that is longer than this is none. */
function storable(text: string): string {
  return text.length <= nameCharactersAtMost && !text.includes("\0")
    ? text
    : text.slice(0, nameCharactersAtMost).replaceAll("\0", "\uFFFD");
}
