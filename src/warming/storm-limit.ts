/** How busy a share may be before that is a storm. */
import type { Pool } from "pg";
import { inTenant } from "../db/tenant.js";
import { requireShare } from "../tenancy/shares.js";
import { invalidField } from "../tenancy/validate.js";

const limitAtMost = 1_000_000_000;

/** Different tiered files accessed in a minute; counts from the next accesses on. Throws NOT_FOUND, INVALID_ARGUMENT. */
export async function setStormLimit(pool: Pool, tenantId: string, shareName: string, filesPerMinute: number): Promise<void> {
  if (!(filesPerMinute >= 1 && filesPerMinute <= limitAtMost))
    throw invalidField("files_per_minute", `is ${filesPerMinute}; it must be from 1 to ${limitAtMost}.`);
  await inTenant(pool, tenantId, async (client) => {
    const share = await requireShare(client, tenantId, shareName);
    await client.query("UPDATE share SET storm_files_per_minute = $3, updated_utc = now() WHERE tenant_id = $1 AND share_id = $2", [
      tenantId,
      share.share_id,
      filesPerMinute,
    ]);
  });
}
