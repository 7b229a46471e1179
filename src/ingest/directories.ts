/** Directories to their ids: found by digest, made when new, with all their ancestors. */
import type { ClientBase, Pool } from "pg";
import { plainArray, textArray } from "../db/array-literals.js";
import type { DirIds } from "../db/id-blocks.js";
import { inTenant } from "../db/tenant.js";
import { together } from "../db/together.js";
import { pathDigest, type SourceType, splitPath } from "../paths.js";
import { directoryTextAtOnce } from "./limits.js";

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
  dirIds: DirIds,
  share: ShareRef,
  paths: string[],
  missingSinceScanId: bigint | null = null,
  inTurn: InTurn = (work) => work(),
): Promise<bigint[]> {
  const known: Known = { digests: new Map(), ids: new Map() };
  for (const group of groups(paths, known.digests, share.caseSensitive)) {
    const ids = await inTurn(() => resolveGroup(pool, dirIds, share, group, known, missingSinceScanId));
    for (const [digest, id] of ids) known.ids.set(digest, id);
  }
  return paths.map((path) => known.ids.get(known.digests.get(path) as string) as bigint);
}

/** Runs one transaction of several when it is its turn. */
type InTurn = <T>(work: () => Promise<T>) => Promise<T>;

interface Known {
  /** By path. */
  digests: Map<string, string>;
  /** By digest: those of groups that are done. */
  ids: Map<string, bigint>;
}

/**
 * The paths and all that they lie in, each once, what holds another before it; as many together as may be made at once. The text
 * of all that a path lies in grows with the square of its depth.
 */
function* groups(paths: string[], digests: Map<string, string>, caseSensitive: boolean): Generator<string[]> {
  let group: string[] = [];
  let text = 0;
  for (const path of paths) {
    const chain: string[] = [];
    for (let at: string | undefined = path; at !== undefined && !digests.has(at); at = splitPath(at)?.dirPath) chain.push(at);
    for (const at of chain.reverse()) {
      if (text > 0 && text + at.length > directoryTextAtOnce) {
        yield group;
        group = [];
        text = 0;
      }
      digests.set(at, pathDigest(at, caseSensitive));
      group.push(at);
      text += at.length;
    }
  }
  if (group.length > 0) yield group;
}

/** Ids by digest. */
async function resolveGroup(
  pool: Pool,
  dirIds: DirIds,
  share: ShareRef,
  group: string[],
  known: Known,
  missingSinceScanId: bigint | null,
): Promise<Map<string, bigint>> {
  for (;;) {
    try {
      return await inTenant(pool, share.tenantId, (client) => findOrMake(client, dirIds, share, group, known, missingSinceScanId));
    } catch (error) {
      // Each round finds what the winner committed, so this ends.
      if (!(error instanceof LostRace)) throw error;
    }
  }
}

async function findOrMake(
  client: ClientBase,
  dirIds: DirIds,
  share: ShareRef,
  group: string[],
  known: Known,
  missingSinceScanId: bigint | null,
): Promise<Map<string, bigint>> {
  // Paths that differ only in case are one directory of a case-insensitive share.
  const wanted = new Map<string, string>();
  for (const path of group) {
    const digest = known.digests.get(path) as string;
    if (!wanted.has(digest)) wanted.set(digest, path);
  }
  const [, { rows }] = await together([
    // A database that does not answer for a while holds the stream up, but does not break it.
    client.query("SET LOCAL statement_timeout = 0"),
    client.query<{ dir_id: bigint; path_digest: string }>(
      "SELECT dir_id, path_digest FROM dir WHERE tenant_id = $1 AND share_id = $2 AND path_digest = ANY($3::uuid[])",
      [share.tenantId, share.shareId, plainArray([...wanted.keys()])],
    ),
  ]);
  const found = new Map(rows.map((row) => [row.path_digest, row.dir_id]));
  for (const digest of found.keys()) wanted.delete(digest);
  if (wanted.size > 0) await make(client, dirIds, share, wanted, found, known, missingSinceScanId);
  return found;
}

/** Adds the ids of those it makes, `missing` by digest, to `found`. */
async function make(
  client: ClientBase,
  dirIds: DirIds,
  share: ShareRef,
  missing: Map<string, string>,
  found: Map<string, bigint>,
  known: Known,
  missingSinceScanId: bigint | null,
): Promise<void> {
  const taken = await dirIds.take(client, missing.size);
  let at = 0;
  for (const digest of missing.keys()) found.set(digest, taken[at++] as bigint);
  const parents = [...missing.values()].map((path) => {
    const parent = splitPath(path)?.dirPath;
    if (parent === undefined) return null;
    const digest = known.digests.get(parent) as string;
    return (found.get(digest) ?? known.ids.get(digest)) as bigint;
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
