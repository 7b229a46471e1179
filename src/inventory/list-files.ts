/** Current files of a share, page by page. */
import type { ClientBase, Pool } from "pg";
import { readTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { parseSharePath } from "../paths.js";
import { requireShare, type Share } from "../tenancy/shares.js";
import type { CurrentFile } from "./current-file.js";
import { findDirectory, listDirectories, listSubtree } from "./directories.js";

/** Up to so many directories go into the statement by id, so that the database may reach their files by index. */
const directoriesByIdAtMost = 10_000;

/** Every condition that is set must hold. */
export interface FileFilter {
  /** In or below this directory, in the share's own style; all when empty. */
  dirPath: string;
  minSizeBytes?: bigint | undefined;
  maxSizeBytes?: bigint | undefined;
  atimeBeforeUnix?: bigint | undefined;
  mtimeBeforeUnix?: bigint | undefined;
  /** Lower case, without the dot; any when empty. */
  fileExtension: string;
  includeMissing: boolean;
}

export interface FilePage {
  share: Share;
  /** Ascending by file_current_id; fewer than asked for: there are no more. */
  files: CurrentFile[];
}

/**
 * Up to `limit` files with an id above `afterId`. A file that is moved between two pages is neither skipped nor repeated,
 * because the order is that of the ids.
 * Throws NOT_FOUND (share, directory), INVALID_ARGUMENT (path).
 */
export async function listFiles(
  pool: Pool,
  tenantId: string,
  shareName: string,
  filter: FileFilter,
  afterId: bigint,
  limit: number,
): Promise<FilePage> {
  return readTenant(pool, tenantId, async (client) => {
    const share = await requireShare(client, tenantId, shareName);
    const place = await findPlace(client, tenantId, share, parseSharePath(share.src_type, filter.dirPath));
    const list =
      place.dirIds === undefined ? listByWalk(client, tenantId, place.rootDirId) : listByDirectories(client, tenantId, place.dirIds);
    return { share, files: await list(share, filter, afterId, limit) };
  });
}

/** Where to look: all ids when they are few; else below a directory, or, when that is undefined, in the whole share. */
type Place = { dirIds: bigint[] } | { dirIds: undefined; rootDirId: bigint | undefined };

async function findPlace(client: ClientBase, tenantId: string, share: Share, dirPath: string): Promise<Place> {
  if (dirPath === "/") {
    const dirIds = await listDirectories(client, tenantId, share.share_id, directoriesByIdAtMost);
    return dirIds === undefined ? { dirIds, rootDirId: undefined } : { dirIds };
  }
  const dir = await findDirectory(client, tenantId, share, dirPath);
  if (dir === undefined) {
    throw new DomainError("NOT_FOUND", `The share ${JSON.stringify(share.share_name)} has no directory ${JSON.stringify(dirPath)}.`, {
      reason: "DIRECTORY_NOT_FOUND",
      metadata: { dir_path: dirPath },
    });
  }
  const dirIds = await listSubtree(client, tenantId, dir.dir_id, directoriesByIdAtMost);
  return dirIds === undefined ? { dirIds, rootDirId: dir.dir_id } : { dirIds };
}

type List = (share: Share, filter: FileFilter, afterId: bigint, limit: number) => Promise<CurrentFile[]>;

/** The ids are constants to the planner: it takes the index by directory for few files, the primary key for many. */
function listByDirectories(client: ClientBase, tenantId: string, dirIds: bigint[]): List {
  return async (share, filter, afterId, limit) => {
    const { rows } = await client.query<CurrentFile>(
      `SELECT c.file_current_id, d.dir_path, c.name, c.file_extension, c.size_bytes, c.allocated_bytes, c.atime_unix, c.mtime_unix, c.ctime_unix,
         c.link_count, c.owner, c.frn, c.file_hash, c.last_accessed_source, c.missing_since_scan_id, c.metadata_complete
       FROM file_current c JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id
       WHERE c.tenant_id = $1 AND d.tenant_id = $1 AND c.share_id = $2 AND c.file_current_id > $3
         AND ($5::bigint IS NULL OR c.size_bytes >= $5) AND ($6::bigint IS NULL OR c.size_bytes <= $6)
         AND ($7::bigint IS NULL OR c.atime_unix < $7) AND ($8::bigint IS NULL OR c.mtime_unix < $8)
         AND ($9 = '' OR c.file_extension = $9) AND ($10 OR c.missing_since_scan_id IS NULL)
         AND c.dir_id = ANY($11::bigint[])
       ORDER BY c.file_current_id LIMIT $4`,
      [...commonValues(tenantId, share, filter, afterId, limit), dirIds],
    );
    return rows;
  };
}

/** Goes along the primary key; the OR keeps the subtree a hash that is looked up, so that the key's order needs no sort. */
function listByWalk(client: ClientBase, tenantId: string, rootDirId: bigint | undefined): List {
  return async (share, filter, afterId, limit) => {
    const { rows } = await client.query<CurrentFile>(
      `SELECT c.file_current_id, d.dir_path, c.name, c.file_extension, c.size_bytes, c.allocated_bytes, c.atime_unix, c.mtime_unix, c.ctime_unix,
         c.link_count, c.owner, c.frn, c.file_hash, c.last_accessed_source, c.missing_since_scan_id, c.metadata_complete
       FROM file_current c JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id
       WHERE c.tenant_id = $1 AND d.tenant_id = $1 AND c.share_id = $2 AND c.file_current_id > $3
         AND ($5::bigint IS NULL OR c.size_bytes >= $5) AND ($6::bigint IS NULL OR c.size_bytes <= $6)
         AND ($7::bigint IS NULL OR c.atime_unix < $7) AND ($8::bigint IS NULL OR c.mtime_unix < $8)
         AND ($9 = '' OR c.file_extension = $9) AND ($10 OR c.missing_since_scan_id IS NULL)
         AND ($11::bigint IS NULL OR c.dir_id IN (
           WITH RECURSIVE below AS (
             SELECT tenant_id, dir_id FROM dir WHERE tenant_id = $1 AND dir_id = $11
             UNION ALL
             SELECT n.tenant_id, n.dir_id FROM below b JOIN dir n ON n.tenant_id = b.tenant_id AND n.parent_dir_id = b.dir_id WHERE n.tenant_id = $1
           )
           SELECT dir_id FROM below))
       ORDER BY c.file_current_id LIMIT $4`,
      [...commonValues(tenantId, share, filter, afterId, limit), rootDirId ?? null],
    );
    return rows;
  };
}

/** $1 to $10 of both statements. */
function commonValues(tenantId: string, share: Share, filter: FileFilter, afterId: bigint, limit: number): unknown[] {
  return [
    tenantId,
    share.share_id,
    afterId,
    limit,
    filter.minSizeBytes ?? null,
    filter.maxSizeBytes ?? null,
    filter.atimeBeforeUnix ?? null,
    filter.mtimeBeforeUnix ?? null,
    filter.fileExtension,
    filter.includeMissing,
  ];
}
