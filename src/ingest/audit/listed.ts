/** How old an event may be to be older than what a scan has listed. */
import type { ClientBase } from "pg";
import { pathDigest } from "../../paths.js";
import type { ShareRef } from "../directories.js";
import { clockMarginSeconds } from "../reconcile.js";

export const clockMarginMicros = BigInt(clockMarginSeconds) * 1_000_000n;

/**
 * Events of entries of `dirPath` up to this time, in microseconds, are surely older than the listing that shows them. Of a
 * directory that is not there, or that only events tell of, the root's listing tells: the scan that made it would have come to
 * that one too. Undefined where no listing said when it was made.
 */
export async function readListedMicros(client: ClientBase, share: ShareRef, dirPath: string): Promise<bigint | undefined> {
  const { rows } = await client.query<{ listed_micros: bigint | null }>(
    `SELECT (extract(epoch FROM listed_utc) * 1000000)::bigint - $5::bigint AS listed_micros FROM dir
     WHERE tenant_id = $1 AND share_id = $2 AND listed_utc IS NOT NULL AND (path_digest = $4 OR (path_digest = $3 AND missing_since_scan_id IS NULL))
     ORDER BY path_digest = $3 DESC LIMIT 1`,
    [share.tenantId, share.shareId, pathDigest(dirPath, share.caseSensitive), pathDigest("/", share.caseSensitive), clockMarginMicros],
  );
  return rows[0]?.listed_micros ?? undefined;
}
