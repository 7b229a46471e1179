import type { ClientBase } from "pg";
import { DomainError } from "../../errors.js";
import type { ShareRef } from "../directories.js";

/** The newest scan of the share that has ended, else its newest: what an event deletes is missing since then. */
export async function missingScan(client: ClientBase, share: Pick<ShareRef, "tenantId" | "shareId">): Promise<bigint> {
  const { rows } = await client.query<{ scan_id: bigint }>(
    "SELECT scan_id FROM scan WHERE tenant_id = $1 AND share_id = $2 ORDER BY (status <> 'RUNNING') DESC, scan_id DESC LIMIT 1",
    [share.tenantId, share.shareId],
  );
  if (!rows[0]) {
    throw new DomainError(
      "FAILED_PRECONDITION",
      "The share has never been scanned. Scan it, or import a listing, before its audit trail is read.",
      {
        reason: "SHARE_NOT_SCANNED",
      },
    );
  }
  return rows[0].scan_id;
}
