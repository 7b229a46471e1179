/** One current file by its path. */
import type { ClientBase, Pool } from "pg";
import { readTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { foldCase, parseSharePath, pathDigest, splitPath } from "../paths.js";
import { requireShare, type Share } from "../tenancy/shares.js";
import type { CurrentFile } from "./current-file.js";

/** `path` in the share's own style. Throws NOT_FOUND when the share or the file does not exist, INVALID_ARGUMENT when the path cannot. */
export async function getFile(pool: Pool, tenantId: string, shareName: string, path: string): Promise<{ share: Share; file: CurrentFile }> {
  return readTenant(pool, tenantId, async (client) => {
    const share = await requireShare(client, tenantId, shareName);
    return { share, file: await requireFile(client, tenantId, share, path) };
  });
}

/** The same within a transaction of the tenant. */
export async function requireFile(client: ClientBase, tenantId: string, share: Share, path: string): Promise<CurrentFile> {
  const parts = splitPath(parseSharePath(share.src_type, path));
  const file = parts && (await findFile(client, tenantId, share, parts.dirPath, parts.name));
  if (file === undefined) {
    throw new DomainError("NOT_FOUND", `The share ${JSON.stringify(share.share_name)} has no file ${JSON.stringify(path)}.`, {
      reason: "FILE_NOT_FOUND",
      metadata: { path },
    });
  }
  return file;
}

/** The file of this very name; where case does not count and there is none, the first whose name differs in case alone. */
async function findFile(
  client: ClientBase,
  tenantId: string,
  share: Share,
  dirPath: string,
  name: string,
): Promise<CurrentFile | undefined> {
  const place = [tenantId, share.share_id, pathDigest(dirPath, share.case_sensitive)];
  const file = await readFile(client, place, name);
  if (file !== undefined || share.case_sensitive) return file;
  // The names alone: a pattern may fit all of a large directory.
  const { rows } = await client.query<{ name: string }>(
    `SELECT c.name FROM dir d JOIN file_current c ON c.tenant_id = d.tenant_id AND c.dir_id = d.dir_id
     WHERE d.tenant_id = $1 AND c.tenant_id = $1 AND d.share_id = $2 AND d.path_digest = $3 AND c.missing_since_scan_id IS NULL
       AND lower(c.name) LIKE $4
     ORDER BY c.name`,
    [...place, foldedPattern(name)],
  );
  const stored = rows.find((row) => foldCase(row.name) === foldCase(name))?.name;
  return stored === undefined ? undefined : readFile(client, place, stored);
}

/** `place`: tenant, share, digest of the directory's path. */
async function readFile(client: ClientBase, place: unknown[], name: string): Promise<CurrentFile | undefined> {
  const { rows } = await client.query<CurrentFile>(
    `SELECT c.file_current_id, d.dir_path, c.name, c.file_extension, c.size_bytes, c.allocated_bytes, c.atime_unix, c.mtime_unix, c.ctime_unix,
       c.link_count, c.owner, c.frn, c.file_hash, c.last_accessed_source, c.missing_since_scan_id, c.metadata_complete
     FROM dir d JOIN file_current c ON c.tenant_id = d.tenant_id AND c.dir_id = d.dir_id
     WHERE d.tenant_id = $1 AND c.tenant_id = $1 AND d.share_id = $2 AND d.path_digest = $3 AND c.name = $4 AND c.missing_since_scan_id IS NULL`,
    [...place, name],
  );
  return rows[0];
}

/**
 * A LIKE pattern that every name equal but for case matches after the database's lower(), which in the C collation folds
 * ASCII letters alone. `i` and `k` are wild because letters outside ASCII fold to them.
 */
function foldedPattern(name: string): string {
  return foldCase(name).replace(/[\\%_]|[^\0-\x7f]+|[ik]/gu, (part) => (/[\\%_]/.test(part) ? `\\${part}` : "%"));
}
