/** Webhooks as their owners see them. */
import type { ClientBase } from "pg";
import { DomainError } from "../errors.js";
import { parseUuid } from "../tenancy/validate.js";

export interface Webhook {
  webhookId: string;
  url: string;
  description: string;
  eventTypes: string[];
  /** Null: of every share. */
  shareName: string | null;
  includePaths: boolean;
  includePeople: boolean;
  disabledUtc: Date | null;
  disabledReason: string | null;
  lastSuccessUtc: Date | null;
  /** Null, or past: one secret signs. */
  previousUntilUtc: Date | null;
  createdUtc: Date;
  createdBy: string;
  pending: bigint;
  dead: bigint;
}

/** All of the tenant or the one, the oldest first. Within a transaction of the tenant. */
export async function readWebhooks(client: ClientBase, tenantId: string, webhookId?: string): Promise<Webhook[]> {
  const { rows } = await client.query<Webhook>(
    `SELECT w.webhook_id AS "webhookId", w.url, w.description, w.event_types AS "eventTypes", h.share_name AS "shareName",
       w.include_paths AS "includePaths", w.include_people AS "includePeople", w.disabled_utc AS "disabledUtc", w.disabled_reason AS "disabledReason",
       w.last_success_utc AS "lastSuccessUtc", CASE WHEN w.previous_until_utc > now() THEN w.previous_until_utc END AS "previousUntilUtc",
       w.created_utc AS "createdUtc", w.created_by AS "createdBy",
       (SELECT count(*) FROM webhook_delivery d WHERE d.tenant_id = $1 AND d.webhook_id = w.webhook_id AND d.state = 'PENDING') AS pending,
       (SELECT count(*) FROM webhook_delivery d WHERE d.tenant_id = $1 AND d.webhook_id = w.webhook_id AND d.state = 'DEAD') AS dead
     FROM webhook w LEFT JOIN share h ON h.tenant_id = $1 AND h.share_id = w.share_id
     WHERE w.tenant_id = $1 AND ($2::uuid IS NULL OR w.webhook_id = $2) ORDER BY w.created_utc, w.webhook_id`,
    [tenantId, webhookId],
  );
  return rows;
}

/** Locks it until the commit. Throws INVALID_ARGUMENT, NOT_FOUND. Returns its id in the one notation. */
export async function lockWebhook(client: ClientBase, tenantId: string, webhookId: string): Promise<string> {
  const id = parseUuid("webhook_id", webhookId);
  const { rowCount } = await client.query("SELECT FROM webhook WHERE tenant_id = $1 AND webhook_id = $2 FOR UPDATE", [tenantId, id]);
  if (rowCount === 0) throw webhookNotFound(id);
  return id;
}

export function webhookNotFound(webhookId: string): DomainError {
  return new DomainError("NOT_FOUND", `There is no webhook ${webhookId}. ListWebhooks shows those there are.`, {
    reason: "WEBHOOK_NOT_FOUND",
  });
}
