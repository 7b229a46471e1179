/** Waiting accesses, and the files that have come to their paths otherwise than by an event. */
import type { ClientBase } from "pg";
import { recordTouches } from "../../warming/record-touches.js";
import { touchOf } from "../../warming/touch.js";
import type { ShareRef } from "../directories.js";
import { type AuditFile, type Folded, newFolded } from "./folded.js";
import { storeFolded } from "./store.js";
import { toAccess, type WaitingRow } from "./waiting.js";

/** Where a page of waiting accesses begins. */
export interface WaitingKey {
  dir_digest: string;
  name: string;
}

export const firstWaitingKey: WaitingKey = { dir_digest: "00000000-0000-0000-0000-000000000000", name: "" };

interface SettledRow extends WaitingRow, WaitingKey {
  file_current_id: bigint | null;
  atime_unix: bigint | null;
  structural_micros: bigint | null;
  stubbed_tier_id: bigint | null;
}

/** Gives up to `limit` waiting accesses behind `after` to the files that are at their paths now. Where the next page begins, or undefined. */
export async function settlePage(client: ClientBase, share: ShareRef, after: WaitingKey, limit: number): Promise<WaitingKey | undefined> {
  const { rows } = await client.query<SettledRow>(
    `SELECT w.dir_digest, w.name, w.path, w.event_micros, w.event_id, w.actor, w.host, c.file_current_id, c.atime_unix,
       (extract(epoch FROM c.last_structural_event_utc) * 1000000)::bigint AS structural_micros, t.tier_id AS stubbed_tier_id
     FROM (
       SELECT * FROM audit_waiting WHERE tenant_id = $1 AND share_id = $2 AND (dir_digest, name) > ($3::uuid, $4::text) ORDER BY dir_digest, name LIMIT $5
     ) w
     LEFT JOIN LATERAL (SELECT dir_id FROM dir WHERE tenant_id = $1 AND share_id = $2 AND path_digest = w.dir_digest OFFSET 0) d ON true
     LEFT JOIN LATERAL (
       SELECT file_current_id, atime_unix, last_structural_event_utc FROM file_current
       WHERE tenant_id = $1 AND dir_id = d.dir_id AND name = w.name AND missing_since_scan_id IS NULL OFFSET 0
     ) c ON true
     LEFT JOIN LATERAL (
       SELECT tier_id FROM tier_object WHERE tenant_id = $1 AND file_current_id = c.file_current_id AND state = 'STUBBED' OFFSET 0
     ) t ON true
     ORDER BY w.dir_digest, w.name`,
    [share.tenantId, share.shareId, after.dir_digest, after.name, limit],
  );
  const folded = newFolded();
  for (const row of rows) if (row.file_current_id !== null) settle(folded, row, row.file_current_id);
  await storeFolded(client, share, folded, () => 0n, 0n);
  await recordTouches(client, share, folded.touches);
  return rows.length < limit ? undefined : rows.at(-1);
}

function settle(folded: Folded, row: SettledRow, fileCurrentId: bigint): void {
  folded.settled.add(row.path);
  // Of a file that had the name before this one came to it.
  if (row.structural_micros !== null && row.structural_micros > row.event_micros) return;
  const seconds = row.event_micros / 1_000_000n;
  const oldAtimeUnix = row.atime_unix ?? undefined;
  const event = toAccess(row);
  const file: AuditFile = {
    fileCurrentId,
    path: row.path,
    loadedPath: row.path,
    atimeUnix: seconds,
    structuralMicros: row.structural_micros ?? undefined,
    tid: undefined,
    stubbedTierId: row.stubbed_tier_id ?? undefined,
    missing: false,
    touched: true,
    stale: false,
    restructured: false,
  };
  if (file.stubbedTierId !== undefined) folded.touches.push(touchOf(file.stubbedTierId, event));
  if (oldAtimeUnix !== undefined && seconds <= oldAtimeUnix) return;
  folded.files.add(file);
  folded.accesses.push({ file, event, oldAtimeUnix, newAtimeUnix: seconds });
}
