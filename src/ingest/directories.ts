/** Directories to their ids: found by digest, made when new, with all their ancestors. */
import type { ClientBase, Pool } from "pg";
import { plainArray, textArray } from "../db/array-literals.js";
import type { DirIds } from "../db/id-blocks.js";
import { inTenant } from "../db/tenant.js";
import { pathDigest, type SourceType, splitPath } from "../paths.js";

/** The share that a scan is of. */
export interface ShareRef {
  tenantId: string;
  shareId: bigint;
  srcType: SourceType;
  caseSensitive: boolean;
}

/** Thrown inside the transaction to start over: another writer has just made one of the directories. */
class LostRace extends Error {}

/**
 * Ids of the directories `paths` (normal form), in the same order. Commits what it makes, in a transaction of its own, so that two
 * segments never wait for each other's directories: of a scan a directory row alone says nothing, its listing does. What is made
 * with `missingSinceScanId` is missing until the caller's transaction shows it: that may be undone, and the row stays.
 */
export async function resolveDirectories(
  pool: Pool,
  ids: DirIds,
  share: ShareRef,
  paths: string[],
  missingSinceScanId: bigint | null = null,
): Promise<bigint[]> {
  const digests = new Map<string, string>();
  for (const path of paths) addWithAncestors(digests, path, share.caseSensitive);
  for (;;) {
    try {
      const found = await inTenant(pool, share.tenantId, (client) => findOrMake(client, ids, share, digests, missingSinceScanId));
      return paths.map((path) => found.get(digests.get(path) as string) as bigint);
    } catch (error) {
      // Each round finds what the winner committed, so this ends.
      if (!(error instanceof LostRace)) throw error;
    }
  }
}

function addWithAncestors(digests: Map<string, string>, path: string, caseSensitive: boolean): void {
  for (let at: string | undefined = path; at !== undefined && !digests.has(at); at = splitPath(at)?.dirPath) {
    digests.set(at, pathDigest(at, caseSensitive));
  }
}

async function findOrMake(
  client: ClientBase,
  ids: DirIds,
  share: ShareRef,
  digests: Map<string, string>,
  missingSinceScanId: bigint | null,
): Promise<Map<string, bigint>> {
  // A database that does not answer for a while holds the stream up, but does not break it.
  await client.query("SET LOCAL statement_timeout = 0");
  const { rows } = await client.query<{ dir_id: bigint; path_digest: string }>(
    "SELECT dir_id, path_digest FROM dir WHERE tenant_id = $1 AND share_id = $2 AND path_digest = ANY($3::uuid[])",
    [share.tenantId, share.shareId, plainArray([...new Set(digests.values())])],
  );
  const found = new Map(rows.map((row) => [row.path_digest, row.dir_id]));
  // Paths that differ only in case are one directory of a case-insensitive share.
  const missing = new Map<string, string>();
  for (const [path, digest] of digests) if (!found.has(digest) && !missing.has(digest)) missing.set(digest, path);
  if (missing.size > 0) await make(client, ids, share, digests, found, missing, missingSinceScanId);
  return found;
}

async function make(
  client: ClientBase,
  ids: DirIds,
  share: ShareRef,
  digests: Map<string, string>,
  found: Map<string, bigint>,
  missing: Map<string, string>,
  missingSinceScanId: bigint | null,
): Promise<void> {
  const taken = await ids.take(client, missing.size);
  let at = 0;
  for (const digest of missing.keys()) found.set(digest, taken[at++] as bigint);
  const parents = [...missing.values()].map((path) => {
    const parent = splitPath(path)?.dirPath;
    return parent === undefined ? null : (found.get(digests.get(parent) as string) as bigint);
  });
  // In the order of the digest, so that two writers of the same directories wait for each other and never in a circle.
  const { rowCount } = await client.query(
    `INSERT INTO dir (tenant_id, dir_id, share_id, parent_dir_id, path_digest, dir_path, missing_since_scan_id)
     SELECT $1, n.dir_id, $2, n.parent_dir_id, n.path_digest, n.dir_path, $7
     FROM unnest($3::bigint[], $4::bigint[], $5::uuid[], $6::text[]) AS n (dir_id, parent_dir_id, path_digest, dir_path)
     ORDER BY n.path_digest
     ON CONFLICT (tenant_id, share_id, path_digest) DO NOTHING`,
    [
      share.tenantId,
      share.shareId,
      plainArray(taken),
      plainArray(parents),
      plainArray([...missing.keys()]),
      textArray([...missing.values()]),
      missingSinceScanId,
    ],
  );
  if (rowCount !== missing.size) throw new LostRace();
}
