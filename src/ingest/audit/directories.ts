/** Events of whole directories: made, moved with everything below, deleted with everything below. */
import type { ClientBase } from "pg";
import { pathDigest, withAncestors } from "../../paths.js";
import type { ShareRef } from "../directories.js";
import type { AuditEvent, Counter } from "./fold.js";
import { reviveDirectories } from "./store.js";

/** Ids for directories by path, made where they are new. */
export type MakeDirectories = (paths: string[]) => Promise<bigint[]>;

export interface DirectoryContext {
  client: ClientBase;
  share: ShareRef;
  make: MakeDirectories;
  /** The scan that deleted files, and directories that were left, are said to be missing since. */
  missingScanId: bigint;
}

interface Subdirectory {
  dir_id: bigint;
  dir_path: string;
}

export async function createDirectory({ client, share, make }: DirectoryContext, event: AuditEvent): Promise<Counter> {
  if (await findDirectory(client, share, event.path)) return "stale";
  await reviveDirectories(client, share, await make([...withAncestors([event.path])]));
  return "inserted";
}

/**
 * A directory is renamed: its files keep their rows and lie in new directory rows, since history
 * goes on showing them under the old ones. Onto an occupied name, the file that was there is gone.
 */
export async function moveDirectory(context: DirectoryContext, event: AuditEvent): Promise<Counter> {
  const { client, share, make } = context;
  const { path, targetPath } = event;
  // Into itself, or onto one that holds it: no file system does that, so these paths are of another time.
  if (targetPath === path || targetPath.startsWith(`${path}/`) || path.startsWith(`${targetPath}/`)) return "stale";
  const root = await findDirectory(client, share, path);
  if (!root) return "waiting";
  const subtree = await listSubtree(client, share, root);
  const newIds = await make(subtree.map(({ dir_path }) => targetPath + dir_path.slice(path.length)));
  const oldIds = subtree.map(({ dir_id }) => dir_id);
  await clearOccupied(context, oldIds, newIds, event);
  await client.query(
    `UPDATE file_current c SET dir_id = m.new_id, last_structural_event_utc = GREATEST(c.last_structural_event_utc, to_timestamp($4::bigint / 1000000.0)), updated_utc = now()
     FROM unnest($2::bigint[], $3::bigint[]) AS m (old_id, new_id)
     WHERE c.tenant_id = $1 AND c.dir_id = m.old_id AND c.missing_since_scan_id IS NULL`,
    [share.tenantId, oldIds, newIds, event.timeMicros],
  );
  await mark(context, [...oldIds, ...newIds], oldIds, event);
  await reviveDirectories(client, share, await make([...withAncestors([targetPath])]));
  return "moved";
}

export async function deleteDirectory(context: DirectoryContext, event: AuditEvent): Promise<Counter> {
  const { client, share, missingScanId } = context;
  const root = await findDirectory(client, share, event.path);
  if (!root) return "waiting";
  const subtree = await listSubtree(client, share, root);
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
  return "deleted";
}

/** A directory that exists, as far as is known. */
async function findDirectory(client: ClientBase, share: ShareRef, path: string): Promise<bigint | undefined> {
  const { rows } = await client.query<{ dir_id: bigint }>(
    "SELECT dir_id FROM dir WHERE tenant_id = $1 AND share_id = $2 AND path_digest = $3 AND missing_since_scan_id IS NULL",
    [share.tenantId, share.shareId, pathDigest(path, share.caseSensitive)],
  );
  return rows[0]?.dir_id;
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
       last_structural_event_utc = GREATEST(last_structural_event_utc, to_timestamp($5::bigint / 1000000.0))
     WHERE tenant_id = $1 AND dir_id = ANY($2::bigint[])`,
    [share.tenantId, ids, gone, missingScanId, event.timeMicros],
  );
}
