/** Accesses to tiered files, in the transaction that moved the cursor. */
import type { ClientBase } from "pg";
import { applyPolicy } from "./apply-policy.js";
import { countTouches } from "./count-touches.js";
import { findStorms } from "./find-storms.js";
import { publish, storeGrown } from "./publish.js";
import type { ShareKey } from "./share-key.js";
import { stormAt } from "./storm.js";
import type { Touch } from "./touch.js";

/**
 * Counts `touches` on their objects, asks for those back that their rules' policies call for, and publishes a warming event for
 * each. The share's exclusive lock is held. Call it last before the commit: publishing makes the tenant's others wait until then.
 */
export async function recordTouches(client: ClientBase, share: ShareKey, touches: readonly Touch[]): Promise<void> {
  if (touches.length === 0) return;
  const counted = await countTouches(client, share.tenantId, touches);
  if (counted.length === 0) return;
  const found = await findStorms(client, share, counted);
  const calm: Touch[] = [];
  for (const touch of counted) {
    const storm = stormAt(found.storms, touch.timeMicros);
    if (storm) storm.accesses += 1n;
    else calm.push(touch);
  }
  await storeGrown(client, share.tenantId, found.storms);
  await applyPolicy(client, share.tenantId, calm);
  await publish(client, share, counted, found);
}
