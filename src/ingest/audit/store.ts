/** Writes what a run of events did: a handful of set-wise statements, whatever the run's length. */
import type { ClientBase } from "pg";
import { bigintArray, booleanArray, textArray } from "../../db/binary-arrays.js";
import { takeFileBlocks } from "../../db/id-blocks.js";
import { together } from "../../db/together.js";
import { splitPath } from "../../paths.js";
import type { ShareRef } from "../directories.js";
import { extensionOf } from "../records.js";
import type { Access, AuditFile, Folded } from "./folded.js";
import { storeWaiting } from "./waiting.js";

/** Ids of directories by path; has every directory that the run's files lie in. */
export type DirIdOf = (dirPath: string) => bigint;

/** `missingScanId`: the scan that files which an event deleted are said to be missing since. */
export async function storeFolded(
  client: ClientBase,
  share: ShareRef,
  folded: Folded,
  dirIdOf: DirIdOf,
  missingScanId: bigint,
): Promise<void> {
  const files = [...folded.files];
  const known = files.filter((file) => file.loadedPath !== undefined);
  const added = files.filter((file) => file.fileCurrentId === undefined);
  await takeIds(client, added);
  const restructured = known.filter((file) => file.restructured);
  const toTouch = known.filter((file) => (file.touched || file.stale) && !file.missing);
  // A fifth less work where it is known where a row is.
  const placed = toTouch.filter((file) => file.tid !== undefined && !file.restructured);
  const unplaced = toTouch.filter((file) => file.tid === undefined || file.restructured);
  // In this order: rows leave their old paths before others take them.
  const [touched] = await together([
    touch(client, share.tenantId, placed, "place"),
    clearPaths(client, share.tenantId, restructured, missingScanId),
    insertNew(client, share, added, dirIdOf, missingScanId),
    placeMoved(
      client,
      share.tenantId,
      restructured.filter((file) => !file.missing || file.path !== file.loadedPath),
      dirIdOf,
    ),
    touch(client, share.tenantId, unplaced, "key"),
    markDirectories(client, share, folded.directories, dirIdOf),
    logAccesses(client, share, folded.accesses),
    storeWaiting(client, share, folded),
  ]);
  // A row that anybody moved is found by its key. Those that were touched already come out as they are.
  if (touched !== placed.length) await touch(client, share.tenantId, placed, "key");
  for (const file of files) {
    file.loadedPath = file.missing ? undefined : file.path;
    file.touched = file.stale = file.restructured = false;
    // What was written is elsewhere now.
    file.tid = undefined;
  }
}

/** Rows first leave their old paths, so that the order in which they take the new ones does not matter. Deleted ones stay so. */
async function clearPaths(client: ClientBase, tenantId: string, files: AuditFile[], missingScanId: bigint): Promise<void> {
  if (files.length === 0) return;
  await client.query(
    `UPDATE file_current c SET missing_since_scan_id = $3, last_structural_event_utc = to_timestamp(f.micros / 1000000.0), updated_utc = now()
     FROM unnest($2::bigint[], $4::bigint[]) AS f (file_current_id, micros)
     WHERE c.tenant_id = $1 AND c.file_current_id = f.file_current_id`,
    [tenantId, bigintArray(files.map(idOf)), missingScanId, bigintArray(files.map((file) => file.structuralMicros))],
  );
}

/** One that was moved and then deleted is missing under the path that it had last: later events of either path are told by that. */
async function placeMoved(client: ClientBase, tenantId: string, files: AuditFile[], dirIdOf: DirIdOf): Promise<void> {
  if (files.length === 0) return;
  const places = files.map((file) => placeOf(file, dirIdOf));
  await client.query(
    `UPDATE file_current c SET dir_id = f.dir_id, name = f.name, file_extension = f.extension,
       missing_since_scan_id = CASE WHEN f.missing THEN c.missing_since_scan_id END
     FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::boolean[]) AS f (file_current_id, dir_id, name, extension, missing)
     WHERE c.tenant_id = $1 AND c.file_current_id = f.file_current_id`,
    [
      tenantId,
      bigintArray(files.map(idOf)),
      bigintArray(places.map(({ dirId }) => dirId)),
      textArray(places.map(({ name }) => name)),
      textArray(places.map(({ extension }) => extension)),
      booleanArray(files.map((file) => file.missing)),
    ],
  );
}

async function takeIds(client: ClientBase, files: AuditFile[]): Promise<void> {
  if (files.length === 0) return;
  const blocks = await takeFileBlocks(client, files.length);
  files.forEach((file, at) => {
    file.fileCurrentId = (blocks[at >> 16] as bigint) + BigInt(at & 0xffff);
  });
}

/** Files that only an event tells of: no scan has seen size or times. One that was deleted again leaves its row as well. */
async function insertNew(client: ClientBase, share: ShareRef, files: AuditFile[], dirIdOf: DirIdOf, missingScanId: bigint): Promise<void> {
  if (files.length === 0) return;
  const places = files.map((file) => placeOf(file, dirIdOf));
  await client.query(
    `INSERT INTO file_current (tenant_id, file_current_id, share_id, dir_id, name, file_extension, metadata_complete, stale_metadata,
       atime_unix, last_accessed_source, last_structural_event_utc, missing_since_scan_id)
     SELECT $1, f.file_current_id, $2, f.dir_id, f.name, f.extension, false, true, f.atime_unix, 'lucidlink_audit', to_timestamp(f.micros / 1000000.0),
       CASE WHEN f.missing THEN $10::bigint END
     FROM unnest($3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::boolean[])
       AS f (file_current_id, dir_id, name, extension, atime_unix, micros, missing)`,
    [
      share.tenantId,
      share.shareId,
      bigintArray(files.map(idOf)),
      bigintArray(places.map(({ dirId }) => dirId)),
      textArray(places.map(({ name }) => name)),
      textArray(places.map(({ extension }) => extension)),
      bigintArray(files.map((file) => file.atimeUnix)),
      bigintArray(files.map((file) => file.structuralMicros)),
      booleanArray(files.map((file) => file.missing)),
      missingScanId,
    ],
  );
}

/** Access times never go back: GREATEST, so that a scan and an event may come in either order. Returns how many rows there were. */
async function touch(client: ClientBase, tenantId: string, files: AuditFile[], by: "place" | "key"): Promise<number> {
  if (files.length === 0) return 0;
  const { rowCount } = await client.query(
    `UPDATE file_current c SET
       atime_unix = GREATEST(c.atime_unix, f.atime_unix), stale_metadata = c.stale_metadata OR f.stale, updated_utc = now(),
       last_accessed_source = CASE WHEN f.touched THEN 'lucidlink_audit' ELSE c.last_accessed_source END,
       atime_updated_utc = CASE WHEN f.touched THEN now() ELSE c.atime_updated_utc END
     FROM (
       SELECT * FROM unnest($2::bigint[], $3::bigint[], $4::boolean[], $5::boolean[], $6::tid[]) AS f (file_current_id, atime_unix, touched, stale, tid)
       ORDER BY file_current_id
     ) f
     WHERE c.tenant_id = $1 AND c.file_current_id = f.file_current_id ${by === "place" ? "AND c.ctid = f.tid" : ""}`,
    [
      tenantId,
      bigintArray(files.map(idOf)),
      bigintArray(files.map((file) => file.atimeUnix)),
      booleanArray(files.map((file) => file.touched)),
      booleanArray(files.map((file) => file.stale)),
      tidArray(files.map(({ tid }) => tid)),
    ],
  );
  return rowCount ?? 0;
}

/** For a parameter that is cast to tid[]. */
function tidArray(tids: (string | undefined)[]): string {
  return `{${tids.map((tid) => (tid === undefined ? "NULL" : `"${tid}"`)).join(",")}}`;
}

/** Directories that hold something exist, whatever was known of them before; when they were listed tells of another time. */
export async function reviveDirectories(client: ClientBase, share: ShareRef, dirIds: bigint[]): Promise<void> {
  if (dirIds.length === 0) return;
  await client.query(
    "UPDATE dir SET missing_since_scan_id = NULL, listed_utc = NULL WHERE tenant_id = $1 AND dir_id = ANY($2::bigint[]) AND missing_since_scan_id IS NOT NULL",
    [share.tenantId, bigintArray(dirIds)],
  );
}

/** History no longer agrees with the current state there: the next scan compares with history itself. */
export async function markDirectories(
  client: ClientBase,
  share: ShareRef,
  directories: Map<string, bigint>,
  dirIdOf: DirIdOf,
): Promise<void> {
  if (directories.size === 0) return;
  await client.query(
    `UPDATE dir d SET history_dirty = true,
       last_structural_event_utc = GREATEST(d.last_structural_event_utc, to_timestamp(n.micros / 1000000.0))
     FROM unnest($2::bigint[], $3::bigint[]) AS n (dir_id, micros)
     WHERE d.tenant_id = $1 AND d.dir_id = n.dir_id`,
    [share.tenantId, bigintArray([...directories.keys()].map(dirIdOf)), bigintArray([...directories.values()])],
  );
}

async function logAccesses(client: ClientBase, share: ShareRef, accesses: Access[]): Promise<void> {
  if (accesses.length === 0) return;
  await client.query(
    `INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, old_atime_unix, new_atime_unix, source, actor, host, event_id, event_utc)
     SELECT $1, 'access', $2, a.file_current_id, a.old_atime_unix, a.new_atime_unix, 'lucidlink_audit', nullif(a.actor, ''), nullif(a.host, ''), a.event_id,
       to_timestamp(a.micros / 1000000.0)
     FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::bigint[])
       AS a (file_current_id, old_atime_unix, new_atime_unix, actor, host, event_id, micros)
     ORDER BY a.file_current_id`,
    [
      share.tenantId,
      share.shareId,
      bigintArray(accesses.map(({ file }) => idOf(file))),
      bigintArray(accesses.map(({ oldAtimeUnix }) => oldAtimeUnix)),
      bigintArray(accesses.map(({ newAtimeUnix }) => newAtimeUnix)),
      textArray(accesses.map(({ event }) => event.user)),
      textArray(accesses.map(({ event }) => event.host)),
      textArray(accesses.map(({ event }) => event.eventId)),
      bigintArray(accesses.map(({ event }) => event.timeMicros)),
    ],
  );
}

function idOf(file: AuditFile): bigint {
  if (file.fileCurrentId === undefined) throw new Error(`${JSON.stringify(file.path)} has no row yet`);
  return file.fileCurrentId;
}

function placeOf(file: AuditFile, dirIdOf: DirIdOf): { dirId: bigint; name: string; extension: string } {
  const place = splitPath(file.path);
  if (!place) throw new Error("the root is no file");
  return { dirId: dirIdOf(place.dirPath), name: place.name, extension: Buffer.from(extensionOf(Buffer.from(place.name))).toString() };
}
