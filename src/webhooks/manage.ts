/** Making, changing and removing webhooks. */
import { randomUUID } from "node:crypto";
import type { ClientBase, Pool } from "pg";
import { inTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import type { DataKeys } from "../secrets/data-keys.js";
import { lockTenantKeys } from "../secrets/tenant-key.js";
import { actorOf } from "../tenancy/actor.js";
import { requireShare } from "../tenancy/shares.js";
import { assertName, invalidField, parseUuid } from "../tenancy/validate.js";
import type { AddressPolicy } from "./addresses.js";
import { disableWebhook } from "./disable.js";
import { type EventType, parseEventTypes, warmingTypes } from "./event-types.js";
import { webhooksOfTenantAtMost } from "./limits.js";
import { secretPlace } from "./sealed-secrets.js";
import { newSecret } from "./signature.js";
import { parseTarget } from "./target.js";
import { lockWebhook, readWebhooks, type Webhook, webhookNotFound } from "./webhook.js";

const overlapSecondsAtMost = 604_800;

export interface WebhookDeps {
  pool: Pool;
  keys: DataKeys;
  policy: AddressPolicy;
}

export interface NewWebhook {
  url: string;
  description: string;
  eventTypes: readonly string[];
  /** Undefined: of every share. */
  shareName: string | undefined;
  includePaths: boolean;
  includePeople: boolean;
}

/** What is undefined stays. */
export interface WebhookChange {
  url?: string | undefined;
  description?: string | undefined;
  eventTypes?: readonly string[] | undefined;
  includePaths?: boolean | undefined;
  includePeople?: boolean | undefined;
  enabled?: boolean | undefined;
}

export interface WithSecret {
  webhook: Webhook;
  /** To be shown once. */
  secret: string;
}

/** Throws INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, RESOURCE_EXHAUSTED. */
export async function createWebhook(
  { pool, keys, policy }: WebhookDeps,
  tenantId: string,
  callerId: string,
  given: NewWebhook,
): Promise<WithSecret> {
  const url = parseTarget(given.url, policy);
  const eventTypes = parseEventTypes(given.eventTypes);
  assertDescription(given.description);
  const webhookId = randomUUID();
  const secret = newSecret();
  return inTenant(pool, tenantId, async (client) => {
    await assertRoom(client, tenantId);
    const share = given.shareName === undefined ? undefined : await requireShare(client, tenantId, given.shareName);
    await client.query(
      `INSERT INTO webhook (tenant_id, webhook_id, url, description, event_types, share_id, include_paths, include_people, secret, warming_position, created_by)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
      [
        tenantId,
        webhookId,
        url,
        given.description,
        eventTypes,
        share?.share_id,
        given.includePaths,
        given.includePeople,
        await keys.seal(client, secretPlace(tenantId, webhookId), secret),
        await newestPosition(client, tenantId),
        await actorOf(client, tenantId, callerId),
      ],
    );
    return { webhook: await readOne(client, tenantId, webhookId), secret };
  });
}

/** Throws INVALID_ARGUMENT, NOT_FOUND. */
export async function updateWebhook(
  { pool, policy }: Pick<WebhookDeps, "pool" | "policy">,
  tenantId: string,
  webhookId: string,
  change: WebhookChange,
): Promise<Webhook> {
  const url = change.url === undefined ? undefined : parseTarget(change.url, policy);
  const eventTypes = change.eventTypes === undefined ? undefined : parseEventTypes(change.eventTypes);
  if (change.description !== undefined) assertDescription(change.description);
  return inTenant(pool, tenantId, async (client) => {
    const id = await lockWebhook(client, tenantId, webhookId);
    if (startsAnew(change, eventTypes, await readOne(client, tenantId, id))) {
      await client.query("UPDATE webhook SET warming_position = $3 WHERE tenant_id = $1 AND webhook_id = $2", [
        tenantId,
        id,
        await newestPosition(client, tenantId),
      ]);
    }
    await client.query(
      `UPDATE webhook SET url = coalesce($3, url), description = coalesce($4, description), event_types = coalesce($5, event_types),
         include_paths = coalesce($6, include_paths), include_people = coalesce($7, include_people), updated_utc = now(),
         disabled_utc = CASE WHEN $8 THEN NULL ELSE disabled_utc END, disabled_reason = CASE WHEN $8 THEN NULL ELSE disabled_reason END
       WHERE tenant_id = $1 AND webhook_id = $2`,
      [tenantId, id, url, change.description, eventTypes, change.includePaths, change.includePeople, change.enabled ?? false],
    );
    if (change.enabled === false) await disableWebhook(client, tenantId, id, "An administrator has disabled it.");
    return readOne(client, tenantId, id);
  });
}

/** It is told of what is warming from now on: it was disabled, or was not to be told of such. */
function startsAnew(change: WebhookChange, eventTypes: EventType[] | undefined, before: Webhook): boolean {
  const wanted = (types: readonly string[]) => warmingTypes.some((type) => types.includes(type));
  if (change.enabled === true && before.disabledUtc !== null) return true;
  return eventTypes !== undefined && wanted(eventTypes) && !wanted(before.eventTypes);
}

/** Throws INVALID_ARGUMENT, NOT_FOUND. */
export async function deleteWebhook(pool: Pool, tenantId: string, webhookId: string): Promise<void> {
  const id = parseUuid("webhook_id", webhookId);
  await inTenant(pool, tenantId, async (client) => {
    const { rowCount } = await client.query("DELETE FROM webhook WHERE tenant_id = $1 AND webhook_id = $2", [tenantId, id]);
    if (rowCount === 0) throw webhookNotFound(id);
  });
}

/** The secret of now signs too for `overlapSeconds`. Throws INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION. */
export async function rotateSecret(
  { pool, keys }: Pick<WebhookDeps, "pool" | "keys">,
  tenantId: string,
  webhookId: string,
  overlapSeconds: number,
): Promise<WithSecret> {
  if (!(overlapSeconds >= 0 && overlapSeconds <= overlapSecondsAtMost)) {
    throw invalidField("overlap_seconds", `is ${overlapSeconds}; it must be from 0 to ${overlapSecondsAtMost}.`);
  }
  const secret = newSecret();
  return inTenant(pool, tenantId, async (client) => {
    // Before the webhook's row, as the rotation of the data key does: the other way round the two would wait for each other.
    await lockTenantKeys(client, tenantId, "shared");
    const id = await lockWebhook(client, tenantId, webhookId);
    const sealed = await keys.seal(client, secretPlace(tenantId, id), secret);
    await client.query(
      `UPDATE webhook SET secret = $3, previous_secret = CASE WHEN $4 > 0 THEN secret END,
         previous_until_utc = CASE WHEN $4 > 0 THEN now() + make_interval(secs => $4) END, updated_utc = now()
       WHERE tenant_id = $1 AND webhook_id = $2`,
      [tenantId, id, sealed, overlapSeconds],
    );
    return { webhook: await readOne(client, tenantId, id), secret };
  });
}

async function readOne(client: ClientBase, tenantId: string, webhookId: string): Promise<Webhook> {
  const [webhook] = await readWebhooks(client, tenantId, webhookId);
  if (webhook === undefined) throw webhookNotFound(webhookId);
  return webhook;
}

/** One more may be made: calls that make one wait for each other. */
async function assertRoom(client: ClientBase, tenantId: string): Promise<void> {
  await client.query("SELECT pg_advisory_xact_lock(hashtextextended('webhooks ' || $1, 0))", [tenantId]);
  const { rows } = await client.query<{ count: bigint }>("SELECT count(*) AS count FROM webhook WHERE tenant_id = $1", [tenantId]);
  if (BigInt(rows[0]?.count ?? 0) < BigInt(webhooksOfTenantAtMost)) return;
  throw new DomainError("RESOURCE_EXHAUSTED", `The tenant has ${webhooksOfTenantAtMost} webhooks, and no more are allowed. Delete one.`, {
    reason: "TOO_MANY_WEBHOOKS",
    retryDelayMs: 60_000,
  });
}

async function newestPosition(client: ClientBase, tenantId: string): Promise<bigint> {
  const { rows } = await client.query<{ position: bigint }>("SELECT last_position AS position FROM warming_position WHERE tenant_id = $1", [
    tenantId,
  ]);
  return rows[0]?.position ?? 0n;
}

function assertDescription(description: string): void {
  if (description !== "") assertName("description", description);
}
