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
