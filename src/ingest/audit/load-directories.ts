/** What the database knows of paths that may be directories. */
import type { ClientBase } from "pg";
import { plainArray, textArray } from "../../db/array-literals.js";
import { pathDigest } from "../../paths.js";
import type { ShareRef } from "../directories.js";
import type { KnownDirectory } from "./folded.js";
import { shareUnindexed, startsBelow } from "./waiting.js";

export interface DirectoriesContext {
  share: ShareRef;
  /** Whether accesses of any path wait. */
  someWait: boolean;
}

interface DirectoryRow {
  ordinal: number;
  is_there: boolean;
  holds_waiting: boolean;
}

export async function loadDirectories(
  client: ClientBase,
  { share, someWait }: DirectoriesContext,
  paths: string[],
): Promise<Map<string, KnownDirectory>> {
  if (paths.length === 0) return new Map();
  const starts = paths.map(startsBelow);
  const { rows } = await client.query<DirectoryRow>(
    `SELECT k.ordinal, d.dir_id IS NOT NULL AS is_there, w.some IS NOT NULL AS holds_waiting
     FROM unnest($3::integer[], $4::uuid[], $5::text[], $6::text[], $7::text[]) AS k (ordinal, path_digest, first, last, prefix)
     LEFT JOIN LATERAL (
       SELECT dir_id FROM dir WHERE tenant_id = $1 AND share_id = $2 AND path_digest = k.path_digest AND missing_since_scan_id IS NULL OFFSET 0
     ) d ON true
     LEFT JOIN LATERAL (
       SELECT true AS some FROM audit_waiting
       WHERE $8 AND tenant_id = $1 AND ${shareUnindexed} = $2 AND path_start BETWEEN k.first AND k.last AND starts_with(path, k.prefix) LIMIT 1
     ) w ON true`,
    [
      share.tenantId,
      share.shareId,
      plainArray(paths.map((_, at) => at)),
      plainArray(paths.map((path) => pathDigest(path, share.caseSensitive))),
      textArray(starts.map(({ first }) => first)),
      textArray(starts.map(({ last }) => last)),
      textArray(paths.map((path) => `${path}/`)),
      someWait,
    ],
  );
  return new Map(rows.map((row) => [paths[row.ordinal] as string, { isThere: row.is_there, holdsWaiting: row.holds_waiting }]));
}
