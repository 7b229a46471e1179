/** The share and volume that an audit stream is of, checked before its first batch. */

import type { Pool } from "pg";
import { sqlState } from "../../db/errors.js";
import type { DirIds } from "../../db/id-blocks.js";
import { inTenant } from "../../db/tenant.js";
import { DomainError } from "../../errors.js";
import { requireShare } from "../../tenancy/shares.js";
import { resolveDirectories } from "../directories.js";
import type { AuditTarget } from "./claim.js";
import type { DirectoryCache } from "./directory-cache.js";
import { missingScan } from "./missing-scan.js";

export interface TargetContext {
  pool: Pool;
  dirIds: DirIds;
  /** Whether data fetched ahead of a read counts as an access. */
  prefetchIsAccess: boolean;
  directories: DirectoryCache;
}

/** A share without a volume takes that of its first trail. Errors: see PushAudit in the proto. */
export async function openTarget(
  context: TargetContext,
  tenantId: string,
  open: { shareName: string; volumeId: string },
): Promise<AuditTarget> {
  const row = await inTenant(context.pool, tenantId, async (client) => {
    const share = await requireShare(client, tenantId, open.shareName);
    // Of lines that can't be read, none names the volume: then it is the one that the share has.
    if (open.volumeId === "" && share.volume_id !== null) return share;
    if (open.volumeId === "")
      throw new DomainError("INVALID_ARGUMENT", "open.volume_id is empty; it names the volume that the trail is of.", {
        reason: "INVALID_FIELD",
        metadata: { field: "volume_id" },
      });
    // Found out before the share takes the volume for its own.
    await missingScan(client, { tenantId, shareId: share.share_id });
    if (share.volume_id === null) {
      await client
        .query("UPDATE share SET volume_id = $3, updated_utc = now() WHERE tenant_id = $1 AND share_id = $2", [
          tenantId,
          share.share_id,
          open.volumeId,
        ])
        .catch((error) => {
          throw sqlState(error) === "23505" ? volumeTaken(open.volumeId) : error;
        });
    } else if (share.volume_id !== open.volumeId) {
      throw new DomainError(
        "FAILED_PRECONDITION",
        `Share ${JSON.stringify(open.shareName)} is volume ${share.volume_id}, the trail is of volume ${open.volumeId}. Name the share that the trail belongs to.`,
        { reason: "OTHER_VOLUME", metadata: { volume_id: share.volume_id } },
      );
    }
    return share;
  });
  const share = { tenantId, shareId: row.share_id, srcType: row.src_type, caseSensitive: row.case_sensitive };
  return {
    share,
    volumeId: row.volume_id ?? open.volumeId,
    prefetchIsAccess: context.prefetchIsAccess,
    directories: context.directories,
    make: (paths, missingSinceScanId) => resolveDirectories(context.pool, context.dirIds, share, paths, missingSinceScanId),
  };
}

function volumeTaken(volumeId: string): DomainError {
  return new DomainError("FAILED_PRECONDITION", `Volume ${volumeId} is another share's. Name the share that the trail belongs to.`, {
    reason: "OTHER_VOLUME",
    metadata: { volume_id: volumeId },
  });
}
