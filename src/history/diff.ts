/** What changed between two scans of a share. */
import type { Pool } from "pg";
import { streamTenant } from "../db/cursor.js";
import { DomainError } from "../errors.js";
import type { FileVersion } from "./file-version.js";
import { requireReadableScan } from "./readable-scan.js";

export interface FileDifference extends FileVersion {
  /** Added, changed, removed. A removed file has its last values. */
  difference: "A" | "C" | "R";
}

/**
 * Paths that differ between the two scans, in batches and no particular order. What came and went in between, or changed
 * and changed back, is no difference. Errors: those of requireReadableScan; INVALID_ARGUMENT when the scans are of different
 * shares or in the wrong order.
 */
export function streamDiff(
  pool: Pool,
  tenantId: string,
  fromScanId: bigint,
  toScanId: bigint,
  signal: AbortSignal,
): AsyncGenerator<FileDifference[]> {
  return streamTenant<FileDifference>(
    pool,
    tenantId,
    async (client) => {
      const from = await requireReadableScan(client, tenantId, fromScanId);
      const to = await requireReadableScan(client, tenantId, toScanId);
      if (from.share_id !== to.share_id)
        throw notComparable(`Scans ${fromScanId} and ${toScanId} are of different shares.`, "DIFFERENT_SHARES");
      if (from.scan_id > to.scan_id) {
        throw notComparable(`Scan ${fromScanId} is newer than scan ${toScanId}. Give the older one first.`, "WRONG_ORDER");
      }
      return {
        text: `SELECT v.difference, v.file_current_id, d.dir_path, v.name, $5::text AS src_type, v.size_bytes, v.allocated_bytes, v.atime_unix,
             v.mtime_unix, v.ctime_unix, v.link_count, v.owner, v.frn, v.file_hash
           FROM scan_diff($1, $2, $3, $4) v JOIN dir d ON d.tenant_id = $1 AND d.dir_id = v.dir_id`,
        values: [tenantId, to.share_id, from.scan_id, to.scan_id, to.src_type],
      };
    },
    signal,
  );
}

function notComparable(message: string, reason: string): DomainError {
  return new DomainError("INVALID_ARGUMENT", message, { reason });
}
