/** Forgets deliveries that are long done, and secrets that sign no more. */
import type { ClientBase } from "pg";
import { keepDeadDays, keepDeliveredDays } from "./limits.js";

/** Up to `limit` rows. Returns how many deliveries went. Within a transaction of the tenant. */
export async function pruneDeliveries(client: ClientBase, tenantId: string, limit: number): Promise<number> {
  await client.query(
    "UPDATE webhook SET previous_secret = NULL, previous_until_utc = NULL WHERE tenant_id = $1 AND previous_until_utc < now()",
    [tenantId],
  );
  const { rowCount } = await client.query(
    `DELETE FROM webhook_delivery d USING webhook w, LATERAL (
       SELECT delivery_id FROM webhook_delivery
       WHERE tenant_id = $1 AND webhook_id = w.webhook_id AND state <> 'PENDING'
         AND finished_utc < now() - make_interval(days => CASE state WHEN 'DEAD' THEN $2::integer ELSE $3::integer END)
       ORDER BY finished_utc LIMIT $4
     ) old WHERE w.tenant_id = $1 AND d.tenant_id = $1 AND d.delivery_id = old.delivery_id`,
    [tenantId, keepDeadDays, keepDeliveredDays, limit],
  );
  return rowCount ?? 0;
}
