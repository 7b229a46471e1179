/**
 * The brake on files going missing: a scan may mark a part of the share's live files missing, and asks before it marks more (ADR 13).
 *
 * Live files are counted only for a scan that comes near its limit, or in a share that events change while it is listed. Until then a lower
 * one is enough, which the scan's own counts give: the files that it has found again and those that it has found gone were all there.
 */
import type { PoolClient } from "pg";
import type { ScanRow } from "./scans.js";

/** In SQL: the limit by the counts of `scan s` and `share h`, with `listed`, `added` and `gone` on top of the scan's own. */
export function limitOfSeen(listed: string, added: string, gone: string): string {
  return `(s.files_listed + ${listed} - s.added - ${added} + s.gone + ${gone}) * h.brake_percent / 100`;
}

/** Whether the scan may mark `wanted` files missing, by its limit or by what it has seen. */
export function isWithinLimit({ brakeLimit, brakePercent, filesListed, added }: ScanRow, wanted: bigint): boolean {
  return wanted <= (brakeLimit ?? ((filesListed - added + wanted) * BigInt(brakePercent)) / 100n);
}

/**
 * Fixes the scan's limit, if it is not yet: from the files that were live before it. Returns it. `added` and `gone` are those of this
 * transaction, which the scan's counts do not have yet. Reads the share's part of an index: a third of a second for a million files.
 */
export async function fixLimit(
  client: PoolClient,
  tenantId: string,
  scanId: bigint,
  { added, gone }: { added: bigint; gone: bigint },
): Promise<bigint> {
  // First the lock, then the count: what was committed in between is in both, the counts and the files.
  await client.query("SELECT FROM scan WHERE tenant_id = $1 AND scan_id = $2 FOR UPDATE", [tenantId, scanId]);
  const { rows } = await client.query<{ brake_limit: bigint }>(
    `UPDATE scan s SET brake_limit = coalesce(s.brake_limit, (
       SELECT (count(*) + s.gone + $4::bigint - s.added - $3::bigint) * h.brake_percent / 100 FROM dir d CROSS JOIN LATERAL (
         SELECT FROM file_current f WHERE f.tenant_id = $1 AND f.tenant_id = d.tenant_id AND f.dir_id = d.dir_id AND f.missing_since_scan_id IS NULL OFFSET 0
       ) live WHERE d.tenant_id = $1 AND d.share_id = s.share_id))
     FROM share h
     WHERE s.tenant_id = $1 AND h.tenant_id = $1 AND s.scan_id = $2 AND h.share_id = s.share_id
     RETURNING s.brake_limit`,
    [tenantId, scanId, added, gone],
  );
  return (rows[0] as { brake_limit: bigint }).brake_limit;
}
