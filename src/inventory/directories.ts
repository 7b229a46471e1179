/** Directories of a share, found by path. */
import type { ClientBase } from "pg";
import { pathDigest } from "../paths.js";
import type { Share } from "../tenancy/shares.js";

export interface Directory {
  dir_id: bigint;
  dir_path: string;
}

/** The directory at a normalised path; undefined when no scan or event ever told of it. */
export async function findDirectory(client: ClientBase, tenantId: string, share: Share, dirPath: string): Promise<Directory | undefined> {
  const { rows } = await client.query<Directory>(
    "SELECT dir_id, dir_path FROM dir WHERE tenant_id = $1 AND share_id = $2 AND path_digest = $3",
    [tenantId, share.share_id, pathDigest(dirPath, share.case_sensitive)],
  );
  return rows[0];
}

/** Ids of a directory and of all below it; undefined when they are more than `most`. */
export async function listSubtree(client: ClientBase, tenantId: string, dirId: bigint, most: number): Promise<bigint[] | undefined> {
  const { rows } = await client.query<{ dir_id: bigint }>(
    `WITH RECURSIVE below AS (
       SELECT tenant_id, dir_id FROM dir WHERE tenant_id = $1 AND dir_id = $2
       UNION ALL
       SELECT d.tenant_id, d.dir_id FROM below b JOIN dir d ON d.tenant_id = b.tenant_id AND d.parent_dir_id = b.dir_id WHERE d.tenant_id = $1
     )
     SELECT dir_id FROM below LIMIT $3`,
    [tenantId, dirId, most + 1],
  );
  return rows.length > most ? undefined : rows.map((row) => row.dir_id);
}

/** Ids of all directories of a share; undefined when they are more than `most`. */
export async function listDirectories(client: ClientBase, tenantId: string, shareId: bigint, most: number): Promise<bigint[] | undefined> {
  const { rows } = await client.query<{ dir_id: bigint }>("SELECT dir_id FROM dir WHERE tenant_id = $1 AND share_id = $2 LIMIT $3", [
    tenantId,
    shareId,
    most + 1,
  ]);
  return rows.length > most ? undefined : rows.map((row) => row.dir_id);
}
