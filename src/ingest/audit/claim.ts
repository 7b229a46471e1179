/** The first half of a transaction of audit batches: cursors locked, what was read before dropped, the rest entered in the ledger. */
import { createHash } from "node:crypto";
import type { PoolClient } from "pg";
import { textArray } from "../../db/binary-arrays.js";
import { sqlState } from "../../db/errors.js";
import { together } from "../../db/together.js";
import { DomainError } from "../../errors.js";
import { parseSharePath } from "../../paths.js";
import type { ShareRef } from "../directories.js";
import { levelsAtMost, nameBytesAtMost, pathBytesAtMost } from "../limits.js";
import type { Counter, Counts } from "./counts.js";
import { type Cursor, lockCursors } from "./cursors.js";
import type { AuditEvent, Batch, ReceivedEvent } from "./events.js";
import { type Exclusions, isExcluded, loadExclusions } from "./exclusions.js";
import type { RunTarget } from "./run.js";

export interface AuditTarget extends RunTarget {
  volumeId: string;
}

/** What a transaction has made its own: no other applies these events, whatever becomes of it. */
export interface Claim {
  /** Moved past the batches, in memory. */
  cursors: Map<string, Cursor>;
  /** To be applied, in their order. */
  events: AuditEvent[];
}

/**
 * Claims batches in their order, and counts in `counts` the events that there is nothing to be done for. The locks of the
 * cursors are taken before the share's, by everyone. Throws OUT_OF_RANGE for a gap; then nothing is changed.
 */
export async function claimBatches(client: PoolClient, target: AuditTarget, batches: Batch[], counts: Counts): Promise<Claim> {
  const { share, volumeId } = target;
  const paths = new Set(batches.map(({ auditFilePath }) => auditFilePath));
  const [exclusions, cursors] = await together([loadExclusions(client, share), lockCursors(client, share.tenantId, volumeId, [...paths])]);
  const fresh = pastCursors(cursors, batches, counts);
  const claiming = claimEvents(client, target, fresh);
  // Its error is met where it is awaited, even if what comes first throws.
  claiming.catch(() => {});
  // While the database is at it.
  const sorted = fresh.map((event) => sort(event, share, exclusions));
  const claimed = await claiming;
  const events: AuditEvent[] = [];
  for (const [at, event] of fresh.entries()) {
    const outcome = sorted[at];
    // Deleted when it is met, so that of one that comes twice the second is a duplicate.
    if (!claimed.delete(event.eventId)) counts.duplicate += 1;
    else if (outcome !== undefined) counts[outcome] += 1;
    else events.push(event);
  }
  return { cursors, events };
}

/** Moves the cursors past the batches, and gives the events their ids; those that lie before their cursor are counted as duplicates. */
function pastCursors(cursors: Map<string, Cursor>, batches: Batch[], counts: Counts): ReceivedEvent[] {
  const fresh: ReceivedEvent[] = [];
  for (const batch of batches) {
    const cursor = cursors.get(batch.auditFilePath) as Cursor;
    openBatch(cursor, batch);
    const ids = `${fileKey(cursor.auditFilePath)}:${cursor.generation}:`;
    for (const event of batch.events) {
      // The time too: where a file was truncated, another line may come to begin at the same byte.
      event.eventId = `${ids}${event.offset}:${event.timeMicros.toString(36)}`;
      if (event.offset < cursor.position) counts.duplicate += 1;
      else fresh.push(event);
    }
    if (batch.endOffset > cursor.position) cursor.position = batch.endOffset;
    cursor.lastEventId = batch.events.at(-1)?.eventId ?? cursor.lastEventId;
  }
  return fresh;
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
async function claimEvents(client: PoolClient, { share, volumeId }: AuditTarget, events: ReceivedEvent[]): Promise<Set<string>> {
  const ids = new Set(events.map(({ eventId }) => eventId));
  if (ids.size === 0) return ids;
  const values = [share.tenantId, volumeId, textArray([...ids])];
  // As a rule all are new. To pass over those that are not would cost each row two thirds more, and to tell which they are another third.
  const [, allNew] = await together([
    client.query("SAVEPOINT ledger"),
    client
      .query(
        "INSERT INTO lucid_audit_processed (tenant_id, volume_id, audit_event_id) SELECT $1, $2, id FROM unnest($3::text[]) AS id",
        values,
      )
      .then(
        () => true,
        (error: unknown) => {
          if (sqlState(error) !== "23505") throw error;
          return false;
        },
      ),
  ]);
  if (allNew) return ids;
  await client.query("ROLLBACK TO SAVEPOINT ledger");
  const { rows } = await client.query<{ id: string }>(
    `WITH new AS (
       INSERT INTO lucid_audit_processed (tenant_id, volume_id, audit_event_id) SELECT $1, $2, id FROM unnest($3::text[]) AS id
       ON CONFLICT DO NOTHING RETURNING audit_event_id
     ) SELECT id FROM unnest($3::text[]) AS id WHERE id NOT IN (SELECT audit_event_id FROM new)`,
    values,
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
    const { action, path, targetPath } = event;
    // What is made or moved may be a directory; else the last component is a file.
    const componentsAtMost = action === "CREATE_DIRECTORY" || action === "MOVE" ? levelsAtMost : levelsAtMost + 1;
    if (path !== "/" && targetPath !== "/" && canBeStored(path, componentsAtMost) && canBeStored(targetPath, componentsAtMost))
      return undefined;
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
  }
  return "refused";
}

/** As of records of a scan: a longer name fits no index. */
function canBeStored(path: string, componentsAtMost: number): boolean {
  if (path.length <= 255) return true;
  const names = path.slice(1).split("/");
  if (names.length > componentsAtMost || Buffer.byteLength(path) > pathBytesAtMost) return false;
  return names.every((name) => Buffer.byteLength(name) <= nameBytesAtMost);
}
