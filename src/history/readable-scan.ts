/** Scans whose history can be read. */
import type { ClientBase } from "pg";
import { DomainError } from "../errors.js";
import type { SourceType } from "../paths.js";

export interface ReadableScan {
  scan_id: bigint;
  share_id: bigint;
  src_type: SourceType;
}

/** Throws NOT_FOUND, and FAILED_PRECONDITION while the scan is RUNNING (SCAN_RUNNING) or once its history is purged (HISTORY_PURGED). */
export async function requireReadableScan(client: ClientBase, tenantId: string, scanId: bigint): Promise<ReadableScan> {
  const { rows } = await client.query<ReadableScan & { running: boolean; purged: boolean }>(
    `SELECT scan_id, share_id, src_type, status = 'RUNNING' AS running, history_purged_utc IS NOT NULL AS purged
     FROM scan WHERE tenant_id = $1 AND scan_id = $2`,
    [tenantId, scanId],
  );
  const [scan] = rows;
  const metadata = { scan_id: String(scanId) };
  if (scan === undefined) {
    throw new DomainError("NOT_FOUND", `There is no scan ${scanId}. ListScans shows those of a share.`, {
      reason: "SCAN_NOT_FOUND",
      metadata,
    });
  }
  if (scan.running) {
    throw new DomainError("FAILED_PRECONDITION", `Scan ${scanId} is still running. Wait until it has ended.`, {
      reason: "SCAN_RUNNING",
      metadata,
    });
  }
  if (scan.purged) {
    throw new DomainError("FAILED_PRECONDITION", `The history of scan ${scanId} has been purged. Choose a newer scan.`, {
      reason: "HISTORY_PURGED",
      metadata,
    });
  }
  return scan;
}
