/** frostline.v1.AuditService */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { Turns } from "../fairness/turns.js";
import { type AuditCursorSchema, type AuditExclusion, AuditExclusionKind } from "../gen/frostline/v1/audit_pb.js";
import { countEvents, readBatch } from "../ingest/audit/batch-reader.js";
import * as cursors from "../ingest/audit/cursors.js";
import type { Batch, BatchInBytes } from "../ingest/audit/events.js";
import * as exclusions from "../ingest/audit/exclusions.js";
import { type AuditContext, type AuditMessage, pushAudit } from "../ingest/audit/push-audit.js";
import { getShare } from "../tenancy/shares.js";
import { invalidField } from "../tenancy/validate.js";
import { caller, type ServerDeps } from "./context.js";
import { observed } from "./observed.js";
import { decodePageToken, encodePageToken, pageSize } from "./pages.js";
import type { AuditServiceView, PushAuditView } from "./push-view.js";

const kinds = new Map<AuditExclusionKind, exclusions.ExclusionKind>([
  [AuditExclusionKind.USER, "user"],
  [AuditExclusionKind.HOST, "host"],
  [AuditExclusionKind.NODE, "node"],
  [AuditExclusionKind.ACTION, "action"],
]);
const volumeIdCharactersAtMost = 100;
export function auditService(deps: ServerDeps, context: AuditContext & { tenantTurns: Turns }): ServiceImpl<typeof AuditServiceView> {
  const { pool, log } = deps;
  const volumeOf = async (tenantId: string, shareName: string) => (await getShare(pool, tenantId, shareName)).volume_id ?? "";
  return {
    async pushAudit(messages, call) {
      const known = caller(call);
      const { tenantId } = known;
      const inTurn = async (read: () => Batch) => {
        await context.tenantTurns.begin(tenantId, call.signal);
        return context.tenantTurns.compute(tenantId, call.signal, read);
      };
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

type InTurn = (read: () => Batch) => Promise<Batch>;

async function* received(messages: AsyncIterable<PushAuditView>, inTurn: InTurn): AsyncGenerator<AuditMessage> {
  for await (const { message } of messages) {
    if (message.case === "open") yield { open: checkedOpen(message.value) };
    else if (message.case === "batch") yield { batch: inBytes(message.value, inTurn) };
    else throw invalidField("message", "is neither `open` nor `batch`.");
  }
}

/** A batch is read when it is the tenant's turn: thousands of events take milliseconds. */
function inBytes(bytes: Uint8Array, inTurn: InTurn): BatchInBytes {
  return { events: countEvents(bytes), bytes: bytes.length, read: () => inTurn(() => readBatch(bytes)) };
}

function checkedOpen(open: { shareName: string; volumeId: string }) {
  if (open.volumeId.length > volumeIdCharactersAtMost || open.volumeId.includes("\0"))
    throw invalidField("open.volume_id", `must have at most ${volumeIdCharactersAtMost} characters, and no NUL.`);
  return open;
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
