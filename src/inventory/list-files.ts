/** Current files of a share, page by page. */
import type { ClientBase, Pool } from "pg";
import { readTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { parseSharePath } from "../paths.js";
import { requireShare, type Share } from "../tenancy/shares.js";
import type { CurrentFile } from "./current-file.js";
import { findDirectory } from "./directories.js";

/** Up to so many directories are looked up one by one. */
const directoriesByIdAtMost = 10_000;
/** Up to so many files are read and sorted for each page, in any database; in a large one more, see isFew. */
const filesSortedAtLeast = 5_000;

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
    const root = await findRoot(client, tenantId, share, parseSharePath(share.src_type, filter.dirPath));
    const values = [...commonValues(tenantId, share, filter, afterId, limit), root];
    // Missing files are in no index by directory.
    const few = !filter.includeMissing && (await isFew(client, tenantId, share, root, limit));
    return { share, files: await (few ? listByDirectories : listByWalk)(client, values) };
  });
}

/** The directory to look in and below; null for the whole share. */
async function findRoot(client: ClientBase, tenantId: string, share: Share, dirPath: string): Promise<bigint | null> {
  if (dirPath === "/") return null;
  const dir = await findDirectory(client, tenantId, share, dirPath);
  if (dir === undefined) {
    throw new DomainError("NOT_FOUND", `The share ${JSON.stringify(share.share_name)} has no directory ${JSON.stringify(dirPath)}.`, {
      reason: "DIRECTORY_NOT_FOUND",
      metadata: { dir_path: dirPath },
    });
  }
  return dir.dir_id;
}

/** `below`: the subtree of a directory, of tenant $1, whose id is the parameter `root`. */
const subtree = (root: string) => `RECURSIVE below AS (
  SELECT tenant_id, dir_id FROM dir WHERE tenant_id = $1 AND dir_id = ${root}
  UNION ALL
  SELECT n.tenant_id, n.dir_id FROM below b JOIN dir n ON n.tenant_id = b.tenant_id AND n.parent_dir_id = b.dir_id WHERE n.tenant_id = $1
)`;

/** `place`: the directories where files are looked for, of share $2; `atMost`: no more than so many of them. */
const place = (root: string, atMost?: number) => `${subtree(root)}, place AS MATERIALIZED (
  SELECT dir_id FROM below
  UNION ALL
  SELECT dir_id FROM dir WHERE ${root}::bigint IS NULL AND tenant_id = $1 AND share_id = $2
  ${atMost === undefined ? "" : `LIMIT ${atMost}`}
)`;

/**
 * Whether to read all files of the directories for each page, and sort them, rather than to go along the primary key and
 * pass over the others. Of F files among N, in pages of L, the one reads F files a page, the other N * L / F. Decided here:
 * without statistics, as during a first scan, the database takes any directory's files for few.
 */
async function isFew(client: ClientBase, tenantId: string, share: Share, root: bigint | null, limit: number): Promise<boolean> {
  const { rows } = await client.query<{ few: boolean }>(
    `WITH ${place("$3", directoriesByIdAtMost + 1)}
     SELECT (SELECT count(*) FROM place) <= ${directoriesByIdAtMost} AND NOT EXISTS (
       SELECT FROM place CROSS JOIN LATERAL (
         SELECT FROM file_current c WHERE c.tenant_id = $1 AND c.dir_id = place.dir_id AND c.missing_since_scan_id IS NULL OFFSET 0
       ) live
       OFFSET (
         SELECT greatest(${filesSortedAtLeast}, coalesce(sqrt(greatest(0, (
           SELECT reltuples FROM pg_class WHERE oid = (SELECT tableoid FROM file_current WHERE tenant_id = $1 LIMIT 1)
         )) * $4), 0))::bigint
       ) LIMIT 1
     ) AS few`,
    [tenantId, share.share_id, root, limit],
  );
  return rows[0]?.few === true;
}

/** All files of the directories, by the index of live names: of all there are by now, also where a scan has made more since they were counted. */
async function listByDirectories(client: ClientBase, values: unknown[]): Promise<CurrentFile[]> {
  const { rows } = await client.query<CurrentFile>(
    `WITH ${place("$11")}
     SELECT page.*, d.dir_path FROM (
       SELECT live.* FROM place CROSS JOIN LATERAL (
         SELECT c.tenant_id, c.dir_id, c.file_current_id, c.name, c.file_extension, c.size_bytes, c.allocated_bytes, c.atime_unix, c.mtime_unix,
           c.ctime_unix, c.link_count, c.owner, c.frn, c.file_hash, c.last_accessed_source, c.missing_since_scan_id, c.metadata_complete
         FROM file_current c
         WHERE c.tenant_id = $1 AND c.dir_id = place.dir_id AND c.missing_since_scan_id IS NULL
           AND c.share_id = $2 AND c.file_current_id > $3
           AND ($5::bigint IS NULL OR c.size_bytes >= $5) AND ($6::bigint IS NULL OR c.size_bytes <= $6)
           AND ($7::bigint IS NULL OR c.atime_unix < $7) AND ($8::bigint IS NULL OR c.mtime_unix < $8)
           AND ($9 = '' OR c.file_extension = $9) AND ($10 OR c.missing_since_scan_id IS NULL)
         OFFSET 0
       ) live ORDER BY live.file_current_id LIMIT $4
     ) page JOIN dir d ON d.tenant_id = page.tenant_id AND d.dir_id = page.dir_id
     WHERE d.tenant_id = $1 ORDER BY page.file_current_id`,
    values,
  );
  return rows;
}

/**
 * Along the primary key, whatever the database thinks of sorting. The OR keeps the subtree a hash that is looked up, so
 * that the key's order holds; the directories are joined to the page alone.
 */
async function listByWalk(client: ClientBase, values: unknown[]): Promise<CurrentFile[]> {
  await client.query("SET LOCAL enable_sort = off");
  const { rows } = await client.query<CurrentFile>(
    `SELECT page.*, d.dir_path FROM (
       SELECT c.tenant_id, c.dir_id, c.file_current_id, c.name, c.file_extension, c.size_bytes, c.allocated_bytes, c.atime_unix, c.mtime_unix,
         c.ctime_unix, c.link_count, c.owner, c.frn, c.file_hash, c.last_accessed_source, c.missing_since_scan_id, c.metadata_complete
       FROM file_current c
       WHERE c.tenant_id = $1 AND c.share_id = $2 AND c.file_current_id > $3
         AND ($5::bigint IS NULL OR c.size_bytes >= $5) AND ($6::bigint IS NULL OR c.size_bytes <= $6)
         AND ($7::bigint IS NULL OR c.atime_unix < $7) AND ($8::bigint IS NULL OR c.mtime_unix < $8)
         AND ($9 = '' OR c.file_extension = $9) AND ($10 OR c.missing_since_scan_id IS NULL)
         AND ($11::bigint IS NULL OR c.dir_id IN (WITH ${subtree("$11")} SELECT dir_id FROM below))
       ORDER BY c.file_current_id LIMIT $4
     ) page JOIN dir d ON d.tenant_id = page.tenant_id AND d.dir_id = page.dir_id
     WHERE d.tenant_id = $1 ORDER BY page.file_current_id`,
    values,
  );
  return rows;
}

/** $1 to $10 of both statements; $11 is the root. */
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
