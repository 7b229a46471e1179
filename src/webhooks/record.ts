/** What came of an attempt: delivered, another attempt later, or given up. */
import type { ClientBase } from "pg";
import type { Result } from "./attempt.js";
import type { Claimed } from "./claim.js";
import { disableWebhook } from "./disable.js";
import { jitter } from "./limits.js";
import type { Answer } from "./post.js";

/** How it ended, for metrics. */
export type Outcome = "delivered" | "retry" | "dead" | "lost";

/** The waits between attempts, in seconds: one less than there are attempts. */
export type Waits = readonly number[];

/** `lost` when the claim was not ours any more: another attempt counts. Within a transaction of the tenant. */
export async function recordResult(client: ClientBase, tenantId: string, claimed: Claimed, result: Result, waits: Waits): Promise<Outcome> {
  if ("gone" in result) return end(client, tenantId, claimed, "DEAD", null, "What it would tell of is not kept any more.");
  const status = "status" in result ? result.status : null;
  const error = errorOf(result);
  if (error === undefined) {
    // The webhook's row before the delivery's, as everywhere.
    await client.query("UPDATE webhook SET last_success_utc = now() WHERE tenant_id = $1 AND webhook_id = $2", [
      tenantId,
      claimed.webhookId,
    ]);
    return end(client, tenantId, claimed, "DELIVERED", status, null);
  }
  if (status === 410) {
    await disableWebhook(client, tenantId, claimed.webhookId, "Its receiver answered 410 Gone.");
    return end(client, tenantId, claimed, "DEAD", status, error);
  }
  const wait = waits[claimed.attempt - 1];
  if (wait !== undefined) return again(client, tenantId, claimed, result, error, wait);
  await client.query("SELECT FROM webhook WHERE tenant_id = $1 AND webhook_id = $2 FOR UPDATE", [tenantId, claimed.webhookId]);
  const outcome = await end(client, tenantId, claimed, "DEAD", status, error);
  if (outcome === "dead") await disableIfDown(client, tenantId, claimed);
  return outcome;
}

/** Not the receiver's fault: the attempt does not count. */
export async function postpone(
  client: ClientBase,
  tenantId: string,
  { deliveryId, attempt }: Claimed,
  seconds: number,
  error: string,
): Promise<void> {
  await client.query(
    `UPDATE webhook_delivery SET attempts = attempts - 1, next_attempt_utc = now() + make_interval(secs => $4), last_error = $5
     WHERE tenant_id = $1 AND delivery_id = $2 AND state = 'PENDING' AND attempts = $3`,
    [tenantId, deliveryId, attempt, seconds, error],
  );
}

/** Undefined: it was taken. In words of our own: what the receiver said is not kept. */
export function errorOf(answer: Answer): string | undefined {
  if ("error" in answer) return answer.error;
  if (answer.status >= 200 && answer.status < 300) return undefined;
  if (answer.status >= 300 && answer.status < 400)
    return `The receiver answered ${answer.status}; redirects are not followed. Give the address it leads to.`;
  return `The receiver answered ${answer.status}.`;
}

async function again(
  client: ClientBase,
  tenantId: string,
  { deliveryId, attempt }: Claimed,
  answer: Answer,
  error: string,
  waitSeconds: number,
): Promise<Outcome> {
  const asked = "status" in answer ? (answer.retryAfterSeconds ?? 0) : 0;
  const seconds = Math.max(waitSeconds * (1 + jitter * Math.random()), asked);
  const { rowCount } = await client.query(
    `UPDATE webhook_delivery SET next_attempt_utc = now() + make_interval(secs => $4), last_status = $5, last_error = $6
     WHERE tenant_id = $1 AND delivery_id = $2 AND state = 'PENDING' AND attempts = $3`,
    [tenantId, deliveryId, attempt, seconds, "status" in answer ? answer.status : null, error],
  );
  return rowCount === 1 ? "retry" : "lost";
}

/** One that was given up meanwhile, because the webhook was disabled, may still turn out to have been delivered. */
async function end(
  client: ClientBase,
  tenantId: string,
  { deliveryId, attempt }: Claimed,
  state: "DELIVERED" | "DEAD",
  status: number | null,
  error: string | null,
): Promise<Outcome> {
  const { rowCount } = await client.query(
    `UPDATE webhook_delivery SET state = $4, next_attempt_utc = NULL, finished_utc = now(), last_status = $5, last_error = $6
     WHERE tenant_id = $1 AND delivery_id = $2 AND attempts = $3 AND state <> 'DELIVERED'`,
    [tenantId, deliveryId, attempt, state, status, error],
  );
  if (rowCount !== 1) return "lost";
  return state === "DELIVERED" ? "delivered" : "dead";
}

/** All attempts of a message failed, and nothing was taken in all that time. */
async function disableIfDown(client: ClientBase, tenantId: string, { deliveryId, webhookId }: Claimed): Promise<void> {
  const { rowCount } = await client.query(
    `SELECT FROM webhook w JOIN webhook_delivery d ON d.tenant_id = $1 AND d.webhook_id = w.webhook_id
     WHERE w.tenant_id = $1 AND w.webhook_id = $2 AND d.delivery_id = $3 AND coalesce(w.last_success_utc, '-infinity') < d.created_utc`,
    [tenantId, webhookId, deliveryId],
  );
  if (rowCount === 0) return;
  await disableWebhook(client, tenantId, webhookId, "Every attempt to deliver a message failed, and no other was taken since it was made.");
}
