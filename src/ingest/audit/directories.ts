/** Events of whole directories: moved with everything below, deleted with everything below. */
import type { ClientBase } from "pg";
import { plainArray } from "../../db/array-literals.js";
import { joinPath, pathDigest, splitPath, withAncestors } from "../../paths.js";
import type { ShareRef } from "../directories.js";
import type { Counter } from "./counts.js";
import type { AccessEvent, AuditEvent } from "./events.js";
import { readListedMicros } from "./listed.js";
import { reviveDirectories } from "./store.js";
import { takeWaitingBelow } from "./waiting.js";

/** Ids for directories by path. Those that are new are made, committed at once, and missing until `reviveDirectories` or `mark` show them. */
export type MakeDirectories = (paths: string[], missingSinceScanId: bigint) => Promise<bigint[]>;

export interface DirectoryContext {
  client: ClientBase;
  share: ShareRef;
  make: MakeDirectories;
  /** The scan that deleted files, and directories that were left, are said to be missing since. */
  missingScanId: bigint;
}

export interface Outcome {
  counter: Counter;
  /** Accesses that go to the files at these paths, or wait for them. */
  carried: Map<string, AccessEvent>;
}

interface Directory {
  dir_id: bigint;
  /** See readListedMicros(): of the directory itself. */
  listedMicros: bigint | undefined;
}

interface Subdirectory {
  dir_id: bigint;
  dir_path: string;
}

/**
 * A directory is renamed: its files keep their rows and lie in new directory rows, since history
 * goes on showing them under the old ones. Onto an occupied name, the file that was there is gone.
 */
export async function moveDirectory(context: DirectoryContext, event: AuditEvent): Promise<Outcome> {
  const { client, share, make, missingScanId } = context;
  const { path, targetPath } = event;
  const root = await findDirectory(client, share, path);
  if (!root || isListed(root.listedMicros, event)) return moveLate(context, event, root);
  const subtree = await listSubtree(client, share, root.dir_id);
  const newIds = await make(
    subtree.map(({ dir_path }) => targetPath + dir_path.slice(path.length)),
    missingScanId,
  );
  const oldIds = subtree.map(({ dir_id }) => dir_id);
  await clearOccupied(context, oldIds, newIds, event);
  await client.query(
    `UPDATE file_current c SET dir_id = m.new_id, last_structural_event_utc = GREATEST(c.last_structural_event_utc, to_timestamp($4::bigint / 1000000.0)), updated_utc = now()
     FROM unnest($2::bigint[], $3::bigint[]) AS m (old_id, new_id)
     WHERE c.tenant_id = $1 AND c.dir_id = m.old_id AND c.missing_since_scan_id IS NULL`,
    [share.tenantId, oldIds, newIds, event.timeMicros],
  );
  await mark(context, [...oldIds, ...newIds], oldIds, event);
  await reviveDirectories(client, share, await make([...withAncestors([targetPath])], missingScanId));
  return outcome("moved", await carryWaiting(context, event));
}

/**
 * A move of something that is not there any more, as far as is known: its accesses go where it went. `root`:
 * another directory has its name by now. What was read in there before the move may have been meant for the
 * one that moved; how much is not known any more, so it gets the newest that may be.
 */
async function moveLate(context: DirectoryContext, event: AuditEvent, root: Directory | undefined): Promise<Outcome> {
  const { client, share } = context;
  const carried = await carryWaiting(context, event);
  if (!root) return outcome((await isParentListed(client, share, event)) ? "stale" : "waiting", carried);
  const dirIds = (await listSubtree(client, share, root.dir_id)).map(({ dir_id }) => dir_id);
  const { rows } = await client.query<{ dir_path: string; name: string; atime_unix: bigint }>(
    `SELECT d.dir_path, c.name, c.atime_unix FROM dir d JOIN file_current c ON c.tenant_id = d.tenant_id AND c.dir_id = d.dir_id
     WHERE d.tenant_id = $1 AND c.tenant_id = $1 AND d.dir_id = ANY($2::bigint[]) AND c.missing_since_scan_id IS NULL AND c.atime_unix IS NOT NULL`,
    [share.tenantId, plainArray(dirIds)],
  );
  for (const { dir_path, name, atime_unix } of rows) {
    const to = event.targetPath + joinPath(dir_path, name).slice(event.path.length);
    const newest = atime_unix * 1_000_000n;
    const timeMicros = newest < event.timeMicros ? newest : event.timeMicros;
    const known = carried.get(to);
    if (!known || known.timeMicros < timeMicros) carried.set(to, { ...event, timeMicros });
  }
  return outcome("stale", carried);
}

/** What waits at the old path and below, by its new path. */
async function carryWaiting({ client, share }: DirectoryContext, { path, targetPath, timeMicros }: AuditEvent) {
  const taken = await takeWaitingBelow(client, share, path, timeMicros);
  return new Map([...taken].map(([at, access]) => [targetPath + at.slice(path.length), access]));
}

export async function deleteDirectory(context: DirectoryContext, event: AuditEvent): Promise<Outcome> {
  const { client, share, missingScanId } = context;
  const root = await findDirectory(client, share, event.path);
  if (root && isListed(root.listedMicros, event)) return outcome("stale");
  await takeWaitingBelow(client, share, event.path, event.timeMicros);
  if (!root) return outcome("waiting");
  const subtree = await listSubtree(client, share, root.dir_id);
  const ids = subtree.map(({ dir_id }) => dir_id);
  await client.query(
    `UPDATE file_current SET missing_since_scan_id = $3, last_structural_event_utc = to_timestamp($4::bigint / 1000000.0), updated_utc = now()
     WHERE tenant_id = $1 AND dir_id = ANY($2::bigint[]) AND missing_since_scan_id IS NULL
       AND (last_structural_event_utc IS NULL OR last_structural_event_utc <= to_timestamp($4::bigint / 1000000.0))`,
    [share.tenantId, ids, missingScanId, event.timeMicros],
  );
  const holding = withAncestors(await pathsWithLiveFiles(client, share, ids));
  const gone = subtree.filter(({ dir_path }) => !holding.has(dir_path)).map(({ dir_id }) => dir_id);
  await mark(context, ids, gone, event);
  return outcome("deleted");
}

function outcome(counter: Counter, carried = new Map<string, AccessEvent>()): Outcome {
  return { counter, carried };
}

function isListed(listedMicros: bigint | undefined, event: AuditEvent): boolean {
  return listedMicros !== undefined && listedMicros >= event.timeMicros;
}

async function isParentListed(client: ClientBase, share: ShareRef, event: AuditEvent): Promise<boolean> {
  return isListed(await readListedMicros(client, share, splitPath(event.path)?.dirPath ?? "/"), event);
}

/** A directory that exists, as far as is known. */
async function findDirectory(client: ClientBase, share: ShareRef, path: string): Promise<Directory | undefined> {
  const { rows } = await client.query<{ dir_id: bigint }>(
    "SELECT dir_id FROM dir WHERE tenant_id = $1 AND share_id = $2 AND path_digest = $3 AND missing_since_scan_id IS NULL",
    [share.tenantId, share.shareId, pathDigest(path, share.caseSensitive)],
  );
  return rows[0] && { dir_id: rows[0].dir_id, listedMicros: await readListedMicros(client, share, path) };
}

async function listSubtree(client: ClientBase, share: ShareRef, root: bigint): Promise<Subdirectory[]> {
  const { rows } = await client.query<Subdirectory>(
    `WITH RECURSIVE below AS (
       SELECT dir_id, dir_path FROM dir WHERE tenant_id = $1 AND dir_id = $2
       UNION ALL
       SELECT d.dir_id, d.dir_path FROM below b JOIN dir d ON d.tenant_id = $1 AND d.parent_dir_id = b.dir_id WHERE d.missing_since_scan_id IS NULL
     ) SELECT dir_id, dir_path FROM below`,
    [share.tenantId, root],
  );
  return rows;
}

/** Files of the target that have the name of one that comes. */
async function clearOccupied(context: DirectoryContext, oldIds: bigint[], newIds: bigint[], event: AuditEvent): Promise<void> {
  const { client, share, missingScanId } = context;
  await client.query(
    `UPDATE file_current there SET missing_since_scan_id = $4, last_structural_event_utc = to_timestamp($5::bigint / 1000000.0), updated_utc = now()
     FROM unnest($2::bigint[], $3::bigint[]) AS m (old_id, new_id)
     JOIN file_current comes ON comes.tenant_id = $1 AND comes.dir_id = m.old_id AND comes.missing_since_scan_id IS NULL
     WHERE there.tenant_id = $1 AND there.dir_id = m.new_id AND there.name = comes.name AND there.missing_since_scan_id IS NULL`,
    [share.tenantId, oldIds, newIds, missingScanId, event.timeMicros],
  );
}

async function pathsWithLiveFiles(client: ClientBase, share: ShareRef, ids: bigint[]): Promise<string[]> {
  const { rows } = await client.query<{ dir_path: string }>(
    `SELECT d.dir_path FROM dir d WHERE d.tenant_id = $1 AND d.dir_id = ANY($2::bigint[]) AND EXISTS (
       SELECT FROM file_current c WHERE c.tenant_id = $1 AND c.dir_id = d.dir_id AND c.missing_since_scan_id IS NULL)`,
    [share.tenantId, ids],
  );
  return rows.map(({ dir_path }) => dir_path);
}

/** History no longer agrees with any of `ids`; `gone` exist no more. */
async function mark({ client, share, missingScanId }: DirectoryContext, ids: bigint[], gone: bigint[], event: AuditEvent): Promise<void> {
  await client.query(
    `UPDATE dir SET history_dirty = true, missing_since_scan_id = CASE WHEN dir_id = ANY($3::bigint[]) THEN $4::bigint END,
       listed_utc = CASE WHEN missing_since_scan_id IS NULL THEN listed_utc END,
       last_structural_event_utc = GREATEST(last_structural_event_utc, to_timestamp($5::bigint / 1000000.0))
     WHERE tenant_id = $1 AND dir_id = ANY($2::bigint[])`,
    [share.tenantId, ids, gone, missingScanId, event.timeMicros],
  );
}
