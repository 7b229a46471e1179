/** Shares: the file systems an inventory is kept of. */
import type { ClientBase, Pool } from "pg";
import pg from "pg";
import { inTenant, readTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import type { SourceType } from "../paths.js";
import { assertName, invalidField } from "./validate.js";

const sourceRootCharsAtMost = 32_767;

export interface Share {
  share_id: bigint;
  share_name: string;
  src_type: SourceType;
  volume_id: string | null;
  source_root: string;
  case_sensitive: boolean;
  brake_percent: number;
  storm_files_per_minute: number;
  last_complete_scan_id: bigint | null;
  last_complete_utc: Date | null;
  /** Null: no alarm. */
  stale_scan_alarm_seconds: bigint | null;
  stale: boolean;
}

/** From when on a share counts as stale; src/webhooks/find-share-alarms.ts tells of it by the same rule. */
const staleColumns = `stale_scan_alarm_seconds,
  coalesce(coalesce(last_complete_utc, created_utc) < now() - make_interval(secs => stale_scan_alarm_seconds), false) AS stale`;

export interface NewShare {
  shareName: string;
  sourceType: SourceType;
  volumeId?: string | undefined;
  sourceRoot: string;
  /** Default: false for NTFS and SMB, true for LucidLink. */
  caseSensitive?: boolean | undefined;
  /** 1 to 100; default 50. */
  brakePercent?: number | undefined;
}

/** Throws INVALID_ARGUMENT, and ALREADY_EXISTS when the name or the volume id is taken. */
export async function createShare(pool: Pool, tenantId: string, share: NewShare): Promise<Share> {
  assertNewShare(share);
  return inTenant(pool, tenantId, async (client) => {
    const { rows } = await client
      .query<Share>(
        `INSERT INTO share (tenant_id, share_name, src_type, volume_id, source_root, case_sensitive, brake_percent)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         RETURNING share_id, share_name, src_type, volume_id, source_root, case_sensitive, brake_percent, storm_files_per_minute, last_complete_scan_id, last_complete_utc, ${staleColumns}`,
        [
          tenantId,
          share.shareName,
          share.sourceType,
          share.volumeId ?? null,
          share.sourceRoot,
          share.caseSensitive ?? share.sourceType === "LucidLink",
          share.brakePercent ?? 50,
        ],
      )
      .catch((error) => {
        throw alreadyExists(error, share) ?? error;
      });
    return rows[0] as Share;
  });
}

function assertNewShare(share: NewShare): void {
  assertName("share_name", share.shareName);
  if (share.volumeId !== undefined) assertName("volume_id", share.volumeId);
  if (share.sourceRoot.length > sourceRootCharsAtMost)
    throw invalidField("source_root", `has more than ${sourceRootCharsAtMost} characters.`);
  if (share.sourceRoot.includes("\0")) throw invalidField("source_root", "has a NUL character.");
  const percent = share.brakePercent ?? 50;
  if (!(percent >= 1 && percent <= 100)) throw invalidField("brake_percent", `is ${percent}; it must be from 1 to 100.`);
}

function alreadyExists(error: unknown, share: NewShare): DomainError | undefined {
  if (!(error instanceof pg.DatabaseError)) return undefined;
  switch (error.constraint) {
    case "share_tenant_id_share_name_key":
      return new DomainError(
        "ALREADY_EXISTS",
        `There is a share named ${JSON.stringify(share.shareName)}. Use it, or choose another name.`,
        {
          reason: "SHARE_EXISTS",
          metadata: { share_name: share.shareName },
        },
      );
    case "share_tenant_id_volume_id_key":
      return new DomainError("ALREADY_EXISTS", `Another share has the volume id ${JSON.stringify(share.volumeId)}. Use that share.`, {
        reason: "VOLUME_EXISTS",
        metadata: { volume_id: share.volumeId ?? "" },
      });
    default:
      return undefined;
  }
}

/** Throws NOT_FOUND. */
export async function getShare(pool: Pool, tenantId: string, shareName: string): Promise<Share> {
  return readTenant(pool, tenantId, (client) => requireShare(client, tenantId, shareName));
}

/** The same within a transaction of the tenant. */
export async function requireShare(client: ClientBase, tenantId: string, shareName: string): Promise<Share> {
  assertName("share_name", shareName);
  const { rows } = await client.query<Share>(
    `SELECT share_id, share_name, src_type, volume_id, source_root, case_sensitive, brake_percent, storm_files_per_minute, last_complete_scan_id, last_complete_utc, ${staleColumns}
     FROM share WHERE tenant_id = $1 AND share_name = $2`,
    [tenantId, shareName],
  );
  const [share] = rows;
  if (share === undefined) {
    throw new DomainError("NOT_FOUND", `There is no share named ${JSON.stringify(shareName)}. ListShares shows those there are.`, {
      reason: "SHARE_NOT_FOUND",
      metadata: { share_name: shareName },
    });
  }
  return share;
}

/** All shares of the tenant, by name. */
export async function listShares(pool: Pool, tenantId: string): Promise<Share[]> {
  return readTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<Share>(
      `SELECT share_id, share_name, src_type, volume_id, source_root, case_sensitive, brake_percent, storm_files_per_minute, last_complete_scan_id, last_complete_utc, ${staleColumns}
       FROM share WHERE tenant_id = $1 ORDER BY share_name`,
      [tenantId],
    );
    return rows;
  });
}
