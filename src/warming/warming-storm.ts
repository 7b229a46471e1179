/** Storms as readers see them. */
import type { ClientBase } from "pg";

export interface WarmingStorm {
  position: bigint;
  share_name: string;
  began_utc: Date;
  until_utc: Date;
  files: bigint;
  files_per_minute_limit: number;
  accesses: bigint;
  recorded_utc: Date;
}

/** Up to `limit` storms behind `after` and up to `upTo`, in the order of their positions. Within a transaction of the tenant. */
export async function readStorms(
  client: ClientBase,
  tenantId: string,
  shareId: bigint | undefined,
  { after, upTo, limit }: { after: bigint; upTo: bigint; limit: number },
): Promise<WarmingStorm[]> {
  const { rows } = await client.query<WarmingStorm>(
    `SELECT s.position, h.share_name, s.began_utc, s.until_utc, s.files, s.files_per_minute_limit, s.accesses, s.recorded_utc
     FROM warming_storm s JOIN share h ON h.tenant_id = $1 AND h.tenant_id = s.tenant_id AND h.share_id = s.share_id
     WHERE s.tenant_id = $1 AND s.position > $2 AND s.position <= $3 AND ($5::bigint IS NULL OR s.share_id = $5)
     ORDER BY s.position LIMIT $4`,
    [tenantId, after, upTo, limit, shareId ?? null],
  );
  return rows;
}
