/** Deliveries as their owners see them, dead letters among them. */
import type { ClientBase, Pool } from "pg";
import { inTenant, readTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { parseUuid } from "../tenancy/validate.js";

export type DeliveryState = "PENDING" | "DELIVERED" | "DEAD";

export interface Delivery {
  deliveryId: string;
  webhookId: string;
  eventType: string;
  /** Null: a test. */
  shareName: string | null;
  state: DeliveryState;
  attempts: number;
  createdUtc: Date;
  /** Since 1970, exact: the position of a page. */
  createdMicros: bigint;
  nextAttemptUtc: Date | null;
  lastAttemptUtc: Date | null;
  lastStatus: number | null;
  lastError: string | null;
  finishedUtc: Date | null;
}

export interface DeliveryFilter {
  webhookId?: string | undefined;
  state?: DeliveryState | undefined;
}

/** Where the last page ended. */
export interface DeliveryPosition {
  createdMicros: bigint;
  deliveryId: string;
}

/** The newest first. Throws INVALID_ARGUMENT. */
export async function listDeliveries(
  pool: Pool,
  tenantId: string,
  { webhookId, state }: DeliveryFilter,
  after: DeliveryPosition | undefined,
  limit: number,
): Promise<Delivery[]> {
  const id = webhookId === undefined ? null : parseUuid("webhook_id", webhookId);
  return readTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<Delivery>(
      `${deliveryColumns}
       WHERE d.tenant_id = $1 AND ($2::uuid IS NULL OR d.webhook_id = $2) AND ($3::text IS NULL OR d.state = $3)
         AND ($4::bigint IS NULL OR (d.created_utc, d.delivery_id) < (to_timestamp($4::bigint / 1000000.0), $5::uuid))
       ORDER BY d.created_utc DESC, d.delivery_id DESC LIMIT $6`,
      [tenantId, id, state ?? null, after?.createdMicros ?? null, after?.deliveryId ?? null, limit],
    );
    return rows;
  });
}

const deliveryColumns = `SELECT d.delivery_id AS "deliveryId", d.webhook_id AS "webhookId", d.event_type AS "eventType", h.share_name AS "shareName", d.state, d.attempts,
    d.created_utc AS "createdUtc", (extract(epoch FROM d.created_utc) * 1000000)::bigint AS "createdMicros", d.next_attempt_utc AS "nextAttemptUtc", d.last_attempt_utc AS "lastAttemptUtc",
    d.last_status AS "lastStatus", d.last_error AS "lastError", d.finished_utc AS "finishedUtc"
  FROM webhook_delivery d LEFT JOIN share h ON h.tenant_id = $1 AND h.share_id = d.share_id`;

/** Throws NOT_FOUND. Within a transaction of the tenant. */
export async function readDelivery(client: ClientBase, tenantId: string, deliveryId: string): Promise<Delivery> {
  const { rows } = await client.query<Delivery>(`${deliveryColumns} WHERE d.tenant_id = $1 AND d.delivery_id = $2`, [tenantId, deliveryId]);
  const [delivery] = rows;
  if (delivery !== undefined) return delivery;
  throw new DomainError("NOT_FOUND", `There is no delivery ${deliveryId}. ListDeliveries shows those there are.`, {
    reason: "DELIVERY_NOT_FOUND",
  });
}

/** Has a dead one tried again, from the first attempt on. Throws INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION. */
export async function retryDelivery(pool: Pool, tenantId: string, deliveryId: string): Promise<Delivery> {
  const id = parseUuid("delivery_id", deliveryId);
  return inTenant(pool, tenantId, async (client) => {
    const { webhookId } = await readDelivery(client, tenantId, id);
    // The webhook's row first, as everywhere; shared, and it cannot be disabled before the commit.
    const { rows } = await client.query<{ enabled: boolean }>(
      "SELECT disabled_utc IS NULL AS enabled FROM webhook WHERE tenant_id = $1 AND webhook_id = $2 FOR SHARE",
      [tenantId, webhookId],
    );
    if (rows[0]?.enabled !== true) {
      throw new DomainError("FAILED_PRECONDITION", `Webhook ${webhookId} is disabled, and nothing is sent to it. Enable it first.`, {
        reason: "WEBHOOK_DISABLED",
      });
    }
    const { rowCount } = await client.query(
      `UPDATE webhook_delivery SET state = 'PENDING', attempts = 0, next_attempt_utc = now(), finished_utc = NULL
       WHERE tenant_id = $1 AND delivery_id = $2 AND state = 'DEAD' AND event_type <> 'webhook.test'`,
      [tenantId, id],
    );
    if (rowCount === 0) {
      throw new DomainError(
        "FAILED_PRECONDITION",
        `Delivery ${id} is not one that was given up, or is a test. There is nothing to try again.`,
        {
          reason: "DELIVERY_NOT_DEAD",
        },
      );
    }
    return readDelivery(client, tenantId, id);
  });
}
