/** One current file by its path. */
import type { ClientBase, Pool } from "pg";
import { readTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { foldCase, parseSharePath, splitPath } from "../paths.js";
import { requireShare, type Share } from "../tenancy/shares.js";
import type { CurrentFile } from "./current-file.js";
import { findDirectory } from "./directories.js";

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
  const dir = parts && (await findDirectory(client, tenantId, share, parts.dirPath));
  const name = dir && parts && (await storedName(client, tenantId, share, dir.dir_id, parts.name));
  const file = name === undefined ? undefined : await readFile(client, tenantId, dir?.dir_id as bigint, name);
  if (file === undefined) {
    throw new DomainError("NOT_FOUND", `The share ${JSON.stringify(share.share_name)} has no file ${JSON.stringify(path)}.`, {
      reason: "FILE_NOT_FOUND",
      metadata: { path },
    });
  }
  return file;
}

/** As given, if that exists or case counts; else a name that differs only in case. */
async function storedName(client: ClientBase, tenantId: string, share: Share, dirId: bigint, name: string): Promise<string | undefined> {
  if (share.case_sensitive) return name;
  const { rows } = await client.query<{ name: string }>(
    `SELECT name FROM file_current
     WHERE tenant_id = $1 AND dir_id = $2 AND missing_since_scan_id IS NULL AND lower(name) LIKE $3
     ORDER BY name = $4 DESC, name`,
    [tenantId, dirId, foldedPattern(name), name],
  );
  return rows.find((row) => foldCase(row.name) === foldCase(name))?.name;
}

/**
 * A LIKE pattern that every name equal but for case matches after the database's lower(), which in the C collation folds
 * ASCII letters alone. `i` and `k` are wild because letters outside ASCII fold to them.
 */
function foldedPattern(name: string): string {
  return foldCase(name).replace(/[\\%_]|[^\0-\x7f]+|[ik]/gu, (part) => (/[\\%_]/.test(part) ? `\\${part}` : "%"));
}

async function readFile(client: ClientBase, tenantId: string, dirId: bigint, name: string): Promise<CurrentFile | undefined> {
  const { rows } = await client.query<CurrentFile>(
    `SELECT c.file_current_id, d.dir_path, c.name, c.file_extension, c.size_bytes, c.allocated_bytes, c.atime_unix, c.mtime_unix, c.ctime_unix,
       c.link_count, c.owner, c.frn, c.file_hash, c.last_accessed_source, c.missing_since_scan_id, c.metadata_complete
     FROM file_current c JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id
     WHERE c.tenant_id = $1 AND d.tenant_id = $1 AND c.dir_id = $2 AND c.name = $3 AND c.missing_since_scan_id IS NULL`,
    [tenantId, dirId, name],
  );
  return rows[0];
}
