/** Nothing more is sent to a webhook; what waits is given up, and can be tried again once it is enabled. */
import type { ClientBase } from "pg";

/** Nothing when it is disabled already. Within a transaction of the tenant; the webhook's row before those of its deliveries, as everywhere. */
export async function disableWebhook(client: ClientBase, tenantId: string, webhookId: string, reason: string): Promise<boolean> {
  const { rowCount } = await client.query(
    "UPDATE webhook SET disabled_utc = now(), disabled_reason = $3 WHERE tenant_id = $1 AND webhook_id = $2 AND disabled_utc IS NULL",
    [tenantId, webhookId, reason],
  );
  await client.query(
    `UPDATE webhook_delivery SET state = 'DEAD', next_attempt_utc = NULL, finished_utc = now(), last_error = coalesce(last_error, 'The webhook was disabled.')
     WHERE tenant_id = $1 AND webhook_id = $2 AND state = 'PENDING'`,
    [tenantId, webhookId],
  );
  return rowCount === 1;
}
