/** Takes deliveries that are due, for a while: who crashes with one leaves it to whoever comes after the lease. */
import type { ClientBase } from "pg";
import { leaseSeconds, requestsOfWebhookAtMost } from "./limits.js";

export interface Claimed {
  deliveryId: string;
  webhookId: string;
  /** Of this attempt, from 1. Also what shows whether the claim still holds: whoever claims next counts on. */
  attempt: number;
}

/**
 * Up to `limit` deliveries, and of no webhook more than may be under way at once; `busy` says how many are. Whose webhook has fewest under
 * way comes first, so that receivers which hang leave what is free to the others; within each webhook those longest due. Within a
 * transaction of the tenant.
 */
export async function claimDue(client: ClientBase, tenantId: string, busy: ReadonlyMap<string, number>, limit: number): Promise<Claimed[]> {
  const { rows } = await client.query<Claimed>(
    `WITH found AS MATERIALIZED (
       SELECT w.webhook_id, d.delivery_id, d.next_attempt_utc, coalesce(b.requests, 0) AS requests FROM webhook w
       LEFT JOIN unnest($2::uuid[], $3::bigint[]) AS b (webhook_id, requests) ON b.webhook_id = w.webhook_id
       CROSS JOIN LATERAL (
         SELECT delivery_id, next_attempt_utc FROM webhook_delivery
         WHERE tenant_id = $1 AND webhook_id = w.webhook_id AND state = 'PENDING' AND next_attempt_utc <= now()
         ORDER BY next_attempt_utc LIMIT greatest($4 - coalesce(b.requests, 0), 0) FOR UPDATE SKIP LOCKED
       ) d
       WHERE w.tenant_id = $1 AND w.disabled_utc IS NULL
     ), due AS MATERIALIZED (
       SELECT delivery_id FROM found
       ORDER BY requests + row_number() OVER (PARTITION BY webhook_id ORDER BY next_attempt_utc), next_attempt_utc LIMIT $5
     )
     UPDATE webhook_delivery d SET attempts = attempts + 1, last_attempt_utc = now(), next_attempt_utc = now() + make_interval(secs => $6)
     FROM due WHERE d.tenant_id = $1 AND d.delivery_id = due.delivery_id
     RETURNING d.delivery_id AS "deliveryId", d.webhook_id AS "webhookId", d.attempts AS attempt`,
    [tenantId, [...busy.keys()], [...busy.values()], requestsOfWebhookAtMost, limit, leaseSeconds],
  );
  return rows;
}
