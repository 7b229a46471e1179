/** How old a share's last complete scan may get. */
import type { Pool } from "pg";
import { inTenant } from "../db/tenant.js";
import { requireShare, type Share } from "./shares.js";
import { invalidField } from "./validate.js";

const secondsAtLeast = 60n;
/** Ten years. */
const secondsAtMost = 315_360_000n;

/** 0: no alarm. Throws INVALID_ARGUMENT, NOT_FOUND. */
export async function setStaleScanAlarm(pool: Pool, tenantId: string, shareName: string, seconds: bigint): Promise<Share> {
  if (seconds !== 0n && !(seconds >= secondsAtLeast && seconds <= secondsAtMost)) {
    throw invalidField(
      "stale_scan_alarm_seconds",
      `is ${seconds}; it must be from ${secondsAtLeast} to ${secondsAtMost}, or 0 for no alarm.`,
    );
  }
  return inTenant(pool, tenantId, async (client) => {
    const { share_id: shareId } = await requireShare(client, tenantId, shareName);
    await client.query(
      "UPDATE share SET stale_scan_alarm_seconds = nullif($3::bigint, 0), updated_utc = now() WHERE tenant_id = $1 AND share_id = $2",
      [tenantId, shareId, seconds],
    );
    return requireShare(client, tenantId, shareName);
  });
}
