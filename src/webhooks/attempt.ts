/** One attempt to deliver: read, render, sign, send. No transaction is open while the receiver is waited for. */
import type { ClientBase, Pool } from "pg";
import { readTenant } from "../db/tenant.js";
import type { DataKeys } from "../secrets/data-keys.js";
import { lockTenantKeys } from "../secrets/tenant-key.js";
import type { Lookups } from "./lookups.js";
import { renderMessage, type ToTell } from "./message.js";
import { type Answer, type PostOptions, post } from "./post.js";
import { secretPlace } from "./sealed-secrets.js";
import { signedHeaders } from "./signature.js";

export interface SendDeps {
  pool: Pool;
  keys: DataKeys;
  post: Omit<PostOptions, "resolve">;
  lookups: Lookups;
}

/** What came of it. */
export type Result =
  | Answer
  /** What it would tell of is not kept any more. */
  | { gone: true };

interface Addressee {
  url: string;
  secrets: string[];
}

/** Sends a delivery that is stored. Throws DomainErrors when it cannot be read, its secret cannot be opened, or the webhook is gone. */
export async function sendDelivery(deps: SendDeps, tenantId: string, deliveryId: string, signal: AbortSignal): Promise<Result> {
  const prepared = await readTenant(deps.pool, tenantId, async (client) => {
    await lockTenantKeys(client, tenantId, "shared");
    const { rows } = await client.query<ToTell & { webhookId: string }>(
      `SELECT d.webhook_id AS "webhookId", d.event_type AS "eventType", d.created_utc AS "createdUtc", d.share_id AS "shareId", h.share_name AS "shareName",
         d.from_position AS "fromPosition", d.to_position AS "toPosition", d.facts, w.include_paths AS "includePaths", w.include_people AS "includePeople"
       FROM webhook_delivery d JOIN webhook w ON w.tenant_id = $1 AND w.webhook_id = d.webhook_id
       LEFT JOIN share h ON h.tenant_id = $1 AND h.share_id = d.share_id AND h.erasing_utc IS NULL
       WHERE d.tenant_id = $1 AND d.delivery_id = $2`,
      [tenantId, deliveryId],
    );
    const [row] = rows;
    const body = row && (await renderMessage(client, tenantId, row));
    return body === undefined || row === undefined
      ? undefined
      : { body, to: await readAddressee(client, deps.keys, tenantId, row.webhookId) };
  });
  if (prepared?.to === undefined) return { gone: true };
  return send(deps, tenantId, prepared.to, deliveryId, prepared.body, signal);
}

/** Sends a body to a webhook without a delivery. Undefined when there is no such webhook. Throws as above. */
export async function sendBody(
  deps: SendDeps,
  tenantId: string,
  webhookId: string,
  deliveryId: string,
  body: string,
  signal: AbortSignal,
): Promise<Answer | undefined> {
  const to = await readTenant(deps.pool, tenantId, async (client) => {
    await lockTenantKeys(client, tenantId, "shared");
    return readAddressee(client, deps.keys, tenantId, webhookId);
  });
  return to && send(deps, tenantId, to, deliveryId, body, signal);
}

async function readAddressee(client: ClientBase, keys: DataKeys, tenantId: string, webhookId: string): Promise<Addressee | undefined> {
  const { rows } = await client.query<{ url: string; secret: string; previous_secret: string | null }>(
    `SELECT url, secret, CASE WHEN previous_until_utc > now() THEN previous_secret END AS previous_secret FROM webhook
     WHERE tenant_id = $1 AND webhook_id = $2`,
    [tenantId, webhookId],
  );
  const [row] = rows;
  if (row === undefined) return undefined;
  const secrets: string[] = [];
  for (const sealed of [row.secret, row.previous_secret]) {
    if (sealed !== null) secrets.push(await keys.open(client, secretPlace(tenantId, webhookId), sealed));
  }
  return { url: row.url, secrets };
}

function send(
  { post: options, lookups }: SendDeps,
  tenantId: string,
  { url, secrets }: Addressee,
  deliveryId: string,
  body: string,
  signal: AbortSignal,
): Promise<Answer> {
  // The same for every attempt, so that a receiver knows what it has had.
  const headers = signedHeaders(secrets, `msg_${deliveryId}`, Math.floor(Date.now() / 1000), body);
  return post(url, headers, body, { ...options, resolve: lookups.of(tenantId) }, signal);
}
