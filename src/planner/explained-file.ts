/** The file that is explained, whether or not it is still there, and its tier object. */
import type { ClientBase } from "pg";
import { DomainError } from "../errors.js";
import { findDirectory } from "../inventory/directories.js";
import { requireFile } from "../inventory/get-file.js";
import { parseSharePath, splitPath } from "../paths.js";
import type { Share } from "../tenancy/shares.js";
import type { Situation } from "./situation.js";

export interface ExplainedFile {
  file_current_id: bigint;
  /** From the share's root, as it is stored. */
  path: string;
  dir_path: string;
  name: string;
  file_extension: string;
  owner: string | null;
  size_bytes: bigint | null;
  atime_unix: bigint | null;
  mtime_unix: bigint | null;
  ctime_unix: bigint | null;
  link_count: number | null;
  metadata_complete: boolean;
  stale_metadata: boolean;
  missing_since_scan_id: bigint | null;
  /** Null: there is no tier object. */
  state: string | null;
  wanted_action: string | null;
  resident_until_utc: Date | null;
}

/** The file that is there, else the one that went missing last. Throws NOT_FOUND, INVALID_ARGUMENT (path). */
export async function findExplainedFile(client: ClientBase, tenantId: string, share: Share, path: string): Promise<bigint> {
  try {
    return (await requireFile(client, tenantId, share, path)).file_current_id;
  } catch (error) {
    const missing =
      error instanceof DomainError && error.code === "NOT_FOUND" ? await findMissing(client, tenantId, share, path) : undefined;
    if (missing === undefined) throw error;
    return missing;
  }
}

/** By its exact name: the index of missing names has no other. */
async function findMissing(client: ClientBase, tenantId: string, share: Share, path: string): Promise<bigint | undefined> {
  const parts = splitPath(parseSharePath(share.src_type, path));
  const dir = parts && (await findDirectory(client, tenantId, share, parts.dirPath));
  if (parts === undefined || dir === undefined) return undefined;
  const { rows } = await client.query<{ file_current_id: bigint }>(
    `SELECT file_current_id FROM file_current WHERE tenant_id = $1 AND dir_id = $2 AND name = $3 AND missing_since_scan_id IS NOT NULL
     ORDER BY missing_since_scan_id DESC, file_current_id DESC LIMIT 1`,
    [tenantId, dir.dir_id, parts.name],
  );
  return rows[0]?.file_current_id;
}

export async function loadExplainedFile(client: ClientBase, { tenantId }: Situation, fileId: bigint): Promise<ExplainedFile> {
  const { rows } = await client.query<ExplainedFile>(
    `SELECT c.file_current_id, CASE d.dir_path WHEN '/' THEN '' ELSE d.dir_path END || '/' || c.name AS path, d.dir_path, c.name, c.file_extension,
       c.owner, c.size_bytes, c.atime_unix, c.mtime_unix, c.ctime_unix, c.link_count, c.metadata_complete, c.stale_metadata, c.missing_since_scan_id,
       t.state, t.wanted_action, t.resident_until_utc
     FROM file_current c JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id
     LEFT JOIN tier_object t ON t.tenant_id = c.tenant_id AND t.file_current_id = c.file_current_id
     WHERE c.tenant_id = $1 AND d.tenant_id = $1 AND c.file_current_id = $2`,
    [tenantId, fileId],
  );
  return rows[0] as ExplainedFile;
}
