/** A message that tries a webhook out: sent while the caller waits, once, and recorded when it is known how it went. */
import { randomUUID } from "node:crypto";
import { inTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { parseUuid } from "../tenancy/validate.js";
import { type SendDeps, sendBody } from "./attempt.js";
import { type Delivery, readDelivery } from "./deliveries.js";
import { testEvent } from "./event-types.js";
import { errorOf } from "./record.js";
import type { Slots } from "./slots.js";
import { lockWebhook, webhookNotFound } from "./webhook.js";

/** Throws INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, RESOURCE_EXHAUSTED. */
export async function sendTestEvent(
  deps: SendDeps,
  slots: Slots,
  tenantId: string,
  webhookId: string,
  signal: AbortSignal,
): Promise<Delivery> {
  const id = parseUuid("webhook_id", webhookId);
  if (!slots.take(tenantId, id)) {
    throw new DomainError(
      "RESOURCE_EXHAUSTED",
      "Other messages of the webhook or the tenant are under way, and no more may be. Try again.",
      {
        reason: "TOO_MANY_DELIVERIES",
        retryDelayMs: 5000,
      },
    );
  }
  const deliveryId = randomUUID();
  const begunUtc = new Date();
  try {
    const body = JSON.stringify({ type: testEvent, timestamp: begunUtc.toISOString(), data: { message: "A test of Frostline's." } });
    const answer = await sendBody(deps, tenantId, id, deliveryId, body, signal);
    if (answer === undefined) throw webhookNotFound(id);
    signal.throwIfAborted();
    const error = errorOf(answer);
    return await inTenant(deps.pool, tenantId, async (client) => {
      await lockWebhook(client, tenantId, id);
      if (error === undefined) {
        await client.query("UPDATE webhook SET last_success_utc = now() WHERE tenant_id = $1 AND webhook_id = $2", [tenantId, id]);
      }
      await client.query(
        `INSERT INTO webhook_delivery (tenant_id, delivery_id, webhook_id, event_type, state, attempts, created_utc, last_attempt_utc, last_status, last_error, finished_utc)
         VALUES ($1, $2, $3, $4, $5, 1, $6, $6, $7, $8, now())`,
        [
          tenantId,
          deliveryId,
          id,
          testEvent,
          error === undefined ? "DELIVERED" : "DEAD",
          begunUtc,
          "status" in answer ? answer.status : null,
          error,
        ],
      );
      return readDelivery(client, tenantId, deliveryId);
    });
  } finally {
    slots.give(tenantId, id);
  }
}
