/** Tier objects, page by page. */
import type { Pool } from "pg";
import { readTenant } from "../db/tenant.js";
import { requireShare } from "../tenancy/shares.js";
import { readTierObjects, type TierObjectRow } from "./tier-object.js";
import type { TierState, WantedAction } from "./transitions.js";

/** Every condition that is set must hold. */
export interface TierObjectFilter {
  shareName?: string | undefined;
  state?: TierState | undefined;
  wantedAction?: WantedAction | undefined;
  /** Any version of the rule. */
  ruleName?: string | undefined;
}

/** Up to `limit` objects with an id above `afterId`, ascending. Throws NOT_FOUND for the share. */
export async function listTierObjects(
  pool: Pool,
  tenantId: string,
  filter: TierObjectFilter,
  afterId: bigint,
  limit: number,
): Promise<TierObjectRow[]> {
  return readTenant(pool, tenantId, async (client) => {
    const share = filter.shareName === undefined ? undefined : await requireShare(client, tenantId, filter.shareName);
    const { rows } = await client.query<{ tier_id: bigint }>(
      `SELECT tier_id FROM tier_object
       WHERE tenant_id = $1 AND tier_id > $2 AND ($4::bigint IS NULL OR share_id = $4) AND ($5::text IS NULL OR state = $5)
         AND ($6::text IS NULL OR wanted_action = $6)
         AND ($7::text IS NULL OR rule_id IN (SELECT rule_id FROM tier_rule WHERE tenant_id = $1 AND rule_name = $7))
       ORDER BY tier_id LIMIT $3`,
      [tenantId, afterId, limit, share?.share_id ?? null, filter.state ?? null, filter.wantedAction ?? null, filter.ruleName ?? null],
    );
    return readTierObjects(
      client,
      tenantId,
      rows.map((row) => row.tier_id),
    );
  });
}
