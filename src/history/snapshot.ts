/** A share exactly as a scan left it. */
import type { Pool } from "pg";
import { streamTenant } from "../db/cursor.js";
import type { FileVersion } from "./file-version.js";
import { requireReadableScan } from "./readable-scan.js";

/** Every file of the share as of the scan, in batches and no particular order. Errors: those of requireReadableScan. */
export function streamSnapshot(pool: Pool, tenantId: string, scanId: bigint, signal: AbortSignal): AsyncGenerator<FileVersion[]> {
  return streamTenant<FileVersion>(
    pool,
    tenantId,
    async (client) => {
      const scan = await requireReadableScan(client, tenantId, scanId);
      return {
        text: `SELECT v.file_current_id, d.dir_path, v.name, $4::text AS src_type, v.size_bytes, v.allocated_bytes, v.atime_unix, v.mtime_unix,
             v.ctime_unix, v.link_count, v.owner, v.frn, v.file_hash
           FROM scan_snapshot($1, $2, $3) v JOIN dir d ON d.tenant_id = v.tenant_id AND d.dir_id = v.dir_id
           WHERE d.tenant_id = $1`,
        values: [tenantId, scan.share_id, scan.scan_id, scan.src_type],
      };
    },
    signal,
  );
}
