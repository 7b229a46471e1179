/** frostline.v1.AuditService */
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { DomainError } from "../errors.js";
import type { Turns } from "../fairness/turns.js";
import {
  AuditAction,
  type AuditBatch,
  AuditBatchSchema,
  type AuditCursorSchema,
  type AuditExclusion,
  AuditExclusionKind,
} from "../gen/frostline/v1/audit_pb.js";
import type { Batch, ReceivedEvent } from "../ingest/audit/claim.js";
import * as cursors from "../ingest/audit/cursors.js";
import type * as events from "../ingest/audit/events.js";
import * as exclusions from "../ingest/audit/exclusions.js";
import { type AuditContext, type AuditMessage, pushAudit } from "../ingest/audit/push-audit.js";
import { getShare } from "../tenancy/shares.js";
import { invalidField } from "../tenancy/validate.js";
import { caller, type ServerDeps } from "./context.js";
import { observed } from "./observed.js";
import { decodePageToken, encodePageToken, pageSize } from "./pages.js";
import type { AuditServiceView, PushAuditView } from "./push-view.js";

const actions: Record<AuditAction, events.AuditAction> = {
  [AuditAction.UNSPECIFIED]: "OTHER",
  [AuditAction.READ]: "READ",
  [AuditAction.PREFETCH]: "PREFETCH",
  [AuditAction.WRITE]: "WRITE",
  [AuditAction.CREATE_FILE]: "CREATE_FILE",
  [AuditAction.CREATE_DIRECTORY]: "CREATE_DIRECTORY",
  [AuditAction.MOVE]: "MOVE",
  [AuditAction.DELETE_FILE]: "DELETE_FILE",
  [AuditAction.DELETE_DIRECTORY]: "DELETE_DIRECTORY",
};
const kinds = new Map<AuditExclusionKind, exclusions.ExclusionKind>([
  [AuditExclusionKind.USER, "user"],
  [AuditExclusionKind.HOST, "host"],
  [AuditExclusionKind.NODE, "node"],
  [AuditExclusionKind.ACTION, "action"],
]);
/** Microseconds of the years 0001 and 9999: what a timestamptz, and any calendar, can show. */
const earliestMicros = -62_135_596_800_000_000n;
const latestMicros = 253_402_300_799_999_999n;
/** It is part of a key: an index takes no more than 2,704 bytes, with tenant and volume. */
const auditFilePathBytesAtMost = 2000;
const volumeIdCharactersAtMost = 100;
/** Of a user's or a host's name. */
const nameCharactersAtMost = 1000;

export function auditService(deps: ServerDeps, context: AuditContext & { tenantTurns: Turns }): ServiceImpl<typeof AuditServiceView> {
  const { pool, log } = deps;
  const volumeOf = async (tenantId: string, shareName: string) => (await getShare(pool, tenantId, shareName)).volume_id ?? "";
  return {
    async pushAudit(messages, call) {
      const known = caller(call);
      const { tenantId } = known;
      const inTurn = (read: () => Batch) => context.tenantTurns.compute(tenantId, call.signal, read);
      const counts = await pushAudit(observed(context, log, known), tenantId, received(messages, inTurn));
      return { counts: Object.fromEntries(Object.entries(counts).map(([name, value]) => [name, BigInt(value)])) };
    },
    async getAuditCursor({ shareName, auditFilePath }, call) {
      const { tenantId } = caller(call);
      return { cursor: toCursor(await cursors.getCursor(pool, tenantId, await volumeOf(tenantId, shareName), auditFilePath)) };
    },
    async listAuditCursors(request, call) {
      const { tenantId } = caller(call);
      const size = pageSize(request.pageSize, 1000, 10_000);
      const after = decodePageToken(request.pageToken, 1)?.[0];
      const rows = await cursors.listCursors(pool, tenantId, await volumeOf(tenantId, request.shareName), after, size);
      const last = rows.at(-1);
      return { cursors: rows.map(toCursor), nextPageToken: last && rows.length === size ? encodePageToken([last.auditFilePath]) : "" };
    },
    async resetAuditCursor({ shareName, auditFilePath, position }, call) {
      const { tenantId } = caller(call);
      return { cursor: toCursor(await cursors.resetCursor(pool, tenantId, await volumeOf(tenantId, shareName), auditFilePath, position)) };
    },
    async listAuditExclusions(_, call) {
      return { exclusions: (await exclusions.listExclusions(pool, caller(call).tenantId)).map(toExclusion) };
    },
    async addAuditExclusion({ exclusion }, call) {
      const wanted = fromExclusion(exclusion);
      await exclusions.addExclusion(pool, caller(call).tenantId, wanted);
      return { exclusion: toExclusion(wanted) };
    },
    async removeAuditExclusion({ exclusion }, call) {
      await exclusions.removeExclusion(pool, caller(call).tenantId, fromExclusion(exclusion));
      return {};
    },
  };
}

/** `inTurn` reads a batch when it is the tenant's turn: thousands of events take milliseconds. */
async function* received(
  messages: AsyncIterable<PushAuditView>,
  inTurn: (read: () => Batch) => Promise<Batch>,
): AsyncGenerator<AuditMessage> {
  for await (const { message } of messages) {
    if (message.case === "open") yield { open: checkedOpen(message.value) };
    else if (message.case === "batch") yield { batch: await inTurn(() => toBatch(decodeBatch(message.value))) };
    else throw invalidField("message", "is neither `open` nor `batch`.");
  }
}

function decodeBatch(bytes: Uint8Array): AuditBatch {
  try {
    return fromBinary(AuditBatchSchema, bytes);
  } catch (cause) {
    throw new DomainError("INVALID_ARGUMENT", "A batch is not a message frostline.v1.AuditBatch.", { reason: "MALFORMED_MESSAGE", cause });
  }
}

function toBatch(batch: AuditBatch): Batch {
  const { auditFilePath, headFingerprint, startOffset, endOffset, restarted } = batch;
  const events = checked(batch);
  const characters = events.reduce((sum, { path, targetPath, user, host, node, actionName }) => {
    return sum + path.length + targetPath.length + user.length + host.length + node.length + actionName.length;
  }, 0);
  return { auditFilePath, headFingerprint, startOffset, endOffset, restarted, events, characters };
}

function checkedOpen(open: { shareName: string; volumeId: string }) {
  if (open.volumeId.length > volumeIdCharactersAtMost || open.volumeId.includes("\0"))
    throw invalidField("open.volume_id", `must have at most ${volumeIdCharactersAtMost} characters, and no NUL.`);
  return open;
}

/** Events of a batch lie in it, one behind the other. */
function checked(batch: AuditBatch): ReceivedEvent[] {
  if (batch.auditFilePath === "" || Buffer.byteLength(batch.auditFilePath) > auditFilePathBytesAtMost || batch.auditFilePath.includes("\0"))
    throw invalidField("audit_file_path", `must have 1 to ${auditFilePathBytesAtMost} bytes, and no NUL.`);
  if (batch.startOffset < 0n || batch.endOffset < batch.startOffset) throw invalidField("start_offset, end_offset", "are not in order.");
  let last = batch.startOffset - 1n;
  return batch.events.map((event) => {
    if (event.offset <= last || event.offset >= batch.endOffset)
      throw invalidField("events.offset", `is ${event.offset}: outside its batch, or not in order.`);
    last = event.offset;
    const outOfTime = event.timeMicros < earliestMicros || event.timeMicros > latestMicros;
    const refusedReason = event.refusedReason !== "" ? event.refusedReason : outOfTime ? "the time is outside the years 0001 to 9999" : "";
    const { offset, timeMicros, path, targetPath, node, actionName } = event;
    const action = actions[event.action] ?? "OTHER";
    // Named one by one: a copy of the whole message took twice the memory, and what is held for a transaction is what counts.
    return {
      eventId: "",
      offset,
      timeMicros,
      action,
      path,
      targetPath,
      user: storable(event.user),
      host: storable(event.host),
      node,
      actionName,
      refusedReason,
    };
  });
}

/** No text of PostgreSQL holds NUL, and a name of a user or host that is longer than this is none. */
function storable(text: string): string {
  return text.length <= nameCharactersAtMost && !text.includes("\0")
    ? text
    : text.slice(0, nameCharactersAtMost).replaceAll("\0", "\uFFFD");
}

function toCursor(cursor: cursors.Cursor): MessageInitShape<typeof AuditCursorSchema> {
  const { auditFilePath, position, headFingerprint, generation, lastProcessedUtc } = cursor;
  return { auditFilePath, position, headFingerprint, generation, lastProcessedTime: timestampFromDate(lastProcessedUtc) };
}

function fromExclusion(exclusion: AuditExclusion | undefined): exclusions.Exclusion {
  const kind = kinds.get(exclusion?.kind ?? AuditExclusionKind.UNSPECIFIED);
  if (!exclusion || kind === undefined) throw invalidField("exclusion.kind", "must be USER, HOST, NODE or ACTION.");
  if (exclusion.value === "" || exclusion.value.length > 1000 || exclusion.value.includes("\0"))
    throw invalidField("exclusion.value", "must have 1 to 1,000 characters, and no NUL.");
  return { shareName: exclusion.shareName === "" ? undefined : exclusion.shareName, kind, value: exclusion.value };
}

function toExclusion({ shareName, kind, value }: exclusions.Exclusion) {
  const found = [...kinds].find(([, name]) => name === kind);
  return { shareName: shareName ?? "", kind: found?.[0] ?? AuditExclusionKind.UNSPECIFIED, value };
}
