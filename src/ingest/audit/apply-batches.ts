/**
 * One transaction of audit batches: cursors locked, what was read before dropped, the rest applied
 * in order, cursors moved. Holds the share alone: a scan's segments come before or after it.
 */
import { createHash } from "node:crypto";
import type { PoolClient } from "pg";
import { textArray } from "../../db/array-literals.js";
import { DomainError } from "../../errors.js";
import { parseSharePath } from "../../paths.js";
import { recordTouches } from "../../warming/record-touches.js";
import type { ShareRef } from "../directories.js";
import { nameBytesAtMost, pathBytesAtMost } from "../limits.js";
import { lockShare } from "../locks.js";
import type { Counter, Counts } from "./counts.js";
import { advanceCursor, type Cursor, lockCursor } from "./cursors.js";
import type { AuditEvent } from "./events.js";
import { type Exclusions, isExcluded, loadExclusions } from "./exclusions.js";
import { applyEvents, type RunTarget } from "./run.js";

/** An event as it arrived: its paths as the agent gave them. */
export interface ReceivedEvent extends AuditEvent {
  offset: bigint;
  node: string;
  actionName: string;
  refusedReason: string;
}

export interface Batch {
  auditFilePath: string;
  headFingerprint: Uint8Array;
  startOffset: bigint;
  endOffset: bigint;
  events: ReceivedEvent[];
  /** Of all texts of the events. */
  characters: number;
  /** The file was found shorter than its cursor, and is read from its start. */
  restarted: boolean;
}

export interface AuditTarget extends RunTarget {
  volumeId: string;
}

/** Applies batches in their order and adds to `counts`. Throws OUT_OF_RANGE for a gap; then nothing is changed. */
export async function applyBatches(client: PoolClient, target: AuditTarget, batches: Batch[], counts: Counts): Promise<void> {
  const { share, volumeId } = target;
  await lockShare(client, share.shareId, "exclusive");
  const exclusions = await loadExclusions(client, share);
  const cursors = new Map<string, Cursor>();
  const fresh: ReceivedEvent[] = [];
  for (const batch of batches) {
    const cursor = cursors.get(batch.auditFilePath) ?? (await lockCursor(client, share.tenantId, volumeId, batch.auditFilePath));
    cursors.set(batch.auditFilePath, cursor);
    openBatch(cursor, batch);
    const file = fileKey(cursor.auditFilePath);
    for (const event of batch.events) {
      // The time too: where a file was truncated, another line may come to begin at the same byte.
      event.eventId = `${file}:${cursor.generation}:${event.offset}:${event.timeMicros.toString(36)}`;
      if (event.offset < cursor.position) counts.duplicate += 1;
      else fresh.push(event);
    }
    if (batch.endOffset > cursor.position) cursor.position = batch.endOffset;
    cursor.lastEventId = batch.events.at(-1)?.eventId ?? cursor.lastEventId;
  }
  const claiming = claimEvents(client, target, fresh);
  // Its error is met where it is awaited, even if what comes first throws.
  claiming.catch(() => {});
  // While the database is at it.
  const sorted = fresh.map((event) => sort(event, share, exclusions));
  const claimed = await claiming;
  const events: AuditEvent[] = [];
  for (const [at, { eventId }] of fresh.entries()) {
    const outcome = sorted[at];
    // Deleted when it is met, so that of one that comes twice the second is a duplicate.
    if (!claimed.delete(eventId)) counts.duplicate += 1;
    else if (outcome !== undefined) counts[outcome] += 1;
    else events.push(fresh[at] as AuditEvent);
  }
  const touches = await applyEvents(client, target, events, counts, await missingScan(client, share));
  for (const cursor of cursors.values()) await advanceCursor(client, share.tenantId, volumeId, cursor);
  await recordTouches(client, share, touches);
}

/** A file that was replaced, or is shorter than it was, begins anew; otherwise a batch must go on where the cursor stands, or before. */
function openBatch(cursor: Cursor, batch: Batch): void {
  const replaced =
    cursor.headFingerprint.length > 0 &&
    batch.headFingerprint.length > 0 &&
    !Buffer.from(cursor.headFingerprint).equals(batch.headFingerprint);
  const anew = replaced || batch.restarted;
  if (anew && batch.startOffset === 0n) {
    // Of one that is only shorter, what is there as before was applied: claimEvents tells.
    if (replaced) cursor.generation += 1;
    cursor.position = 0n;
  }
  // From the middle of another file than the one that was read: its beginning has to come first.
  const expected = anew && batch.startOffset > 0n ? 0n : cursor.position;
  if (batch.startOffset <= expected) {
    if (batch.headFingerprint.length > 0) cursor.headFingerprint = batch.headFingerprint;
    return;
  }
  throw new DomainError(
    "OUT_OF_RANGE",
    `Audit file ${JSON.stringify(batch.auditFilePath)}: expected byte ${expected}, the batch begins at ${batch.startOffset}. Go on with ${expected}.`,
    { reason: "AUDIT_GAP", metadata: { audit_file_path: batch.auditFilePath, expected_position: String(expected) } },
  );
}

/** Stands for an audit file in the ids of its events. `prune_audit_processed()` computes the same. */
function fileKey(auditFilePath: string): string {
  return createHash("sha256").update(auditFilePath).digest("base64url").slice(0, 16);
}

/** Ids of the events that were not processed before; the ledger rows commit with what they did. */
async function claimEvents(client: PoolClient, target: AuditTarget, events: ReceivedEvent[]): Promise<Set<string>> {
  const ids = new Set(events.map(({ eventId }) => eventId));
  if (ids.size === 0) return ids;
  // What comes back are the few that were known, not the many that are new.
  const { rows } = await client.query<{ id: string }>(
    `WITH new AS (
       INSERT INTO lucid_audit_processed (tenant_id, volume_id, audit_event_id) SELECT $1, $2, id FROM unnest($3::text[]) AS id
       ON CONFLICT DO NOTHING RETURNING audit_event_id
     ) SELECT id FROM unnest($3::text[]) AS id WHERE id NOT IN (SELECT audit_event_id FROM new)`,
    [target.share.tenantId, target.volumeId, textArray([...ids])],
  );
  for (const { id } of rows) ids.delete(id);
  return ids;
}

/** Where an event that is not applied counts; brings the paths of one that is into the share's normal form. */
function sort(event: ReceivedEvent, share: ShareRef, exclusions: Exclusions): Counter | undefined {
  if (event.refusedReason !== "") return "refused";
  if (isExcluded(event, exclusions)) return "excluded";
  if (event.action === "OTHER") return "ignored";
  try {
    event.path = parseSharePath(share.srcType, event.path);
    event.targetPath = event.action === "MOVE" ? parseSharePath(share.srcType, event.targetPath) : "";
    if (event.path !== "/" && event.targetPath !== "/" && canBeStored(event.path) && canBeStored(event.targetPath)) return undefined;
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
  }
  return "refused";
}

/** As of records of a scan: a longer name fits no index. */
function canBeStored(path: string): boolean {
  if (path.length <= 255) return true;
  return Buffer.byteLength(path) <= pathBytesAtMost && path.split("/").every((name) => Buffer.byteLength(name) <= nameBytesAtMost);
}

/** The newest scan of the share that has ended, else its newest: what an event deletes is missing since then. */
export async function missingScan(client: PoolClient, share: Pick<ShareRef, "tenantId" | "shareId">): Promise<bigint> {
  const { rows } = await client.query<{ scan_id: bigint }>(
    "SELECT scan_id FROM scan WHERE tenant_id = $1 AND share_id = $2 ORDER BY (status <> 'RUNNING') DESC, scan_id DESC LIMIT 1",
    [share.tenantId, share.shareId],
  );
  if (!rows[0]) {
    throw new DomainError(
      "FAILED_PRECONDITION",
      "The share has never been scanned. Scan it, or import a listing, before its audit trail is read.",
      {
        reason: "SHARE_NOT_SCANNED",
      },
    );
  }
  return rows[0].scan_id;
}
