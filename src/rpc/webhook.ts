/** frostline.v1.WebhookService */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { readTenant } from "../db/tenant.js";
import { type DeliverySchema, DeliveryState, type WebhookSchema, type WebhookService } from "../gen/frostline/v1/webhook_pb.js";
import { latestUnix } from "../ingest/limits.js";
import { invalidField, parseUuid } from "../tenancy/validate.js";
import * as deliveries from "../webhooks/deliveries.js";
import { createWebhook, deleteWebhook, rotateSecret, updateWebhook } from "../webhooks/manage.js";
import { sendTestEvent } from "../webhooks/send-test.js";
import { readWebhooks, type Webhook } from "../webhooks/webhook.js";
import { caller, type ServerDeps } from "./context.js";
import { timestampField } from "./convert.js";
import { decodePageToken, encodePageToken, pageSize, pageTokenNumber } from "./pages.js";

const defaultPageSize = 100;
const maxPageSize = 1000;
const defaultOverlapSeconds = 86_400;

export function webhookService({ pool, webhooks, shutdownSignal }: ServerDeps): ServiceImpl<typeof WebhookService> {
  const { dispatcher } = webhooks;
  return {
    async createWebhook(request, context) {
      const { tenantId, callerId } = caller(context);
      const { url, description, eventTypes, includePaths, includePeople } = request;
      const given = { url, description, eventTypes, shareName: request.shareName || undefined, includePaths, includePeople };
      const { webhook, secret } = await createWebhook(webhooks, tenantId, callerId, given);
      dispatcher.notice(tenantId);
      return { webhook: toWebhook(webhook), secret };
    },
    async listWebhooks(_, context) {
      const { tenantId } = caller(context);
      return { webhooks: (await readTenant(pool, tenantId, (client) => readWebhooks(client, tenantId))).map(toWebhook) };
    },
    async updateWebhook({ webhookId, eventTypes, ...change }, context) {
      const { tenantId } = caller(context);
      const webhook = await updateWebhook(webhooks, tenantId, webhookId, { ...change, eventTypes: eventTypes?.eventTypes });
      dispatcher.notice(tenantId);
      return { webhook: toWebhook(webhook) };
    },
    async deleteWebhook({ webhookId }, context) {
      await deleteWebhook(pool, caller(context).tenantId, webhookId);
      return {};
    },
    async rotateWebhookSecret({ webhookId, overlapSeconds = defaultOverlapSeconds }, context) {
      const { webhook, secret } = await rotateSecret(webhooks, caller(context).tenantId, webhookId, overlapSeconds);
      return { webhook: toWebhook(webhook), secret };
    },
    async sendTestEvent({ webhookId }, context) {
      const signal = AbortSignal.any([context.signal, shutdownSignal]);
      return { delivery: toDelivery(await sendTestEvent(webhooks, dispatcher.slots, caller(context).tenantId, webhookId, signal)) };
    },
    async listDeliveries(request, context) {
      const limit = pageSize(request.pageSize, defaultPageSize, maxPageSize);
      const filter = { webhookId: request.webhookId || undefined, state: fromState(request.state) };
      const page = await deliveries.listDeliveries(pool, caller(context).tenantId, filter, positionOf(request.pageToken), limit);
      const last = page.length === limit ? page.at(-1) : undefined;
      const nextPageToken = last === undefined ? "" : encodePageToken([last.createdMicros, last.deliveryId]);
      return { deliveries: page.map(toDelivery), nextPageToken };
    },
    async retryDelivery({ deliveryId }, context) {
      const { tenantId } = caller(context);
      const delivery = await deliveries.retryDelivery(pool, tenantId, deliveryId);
      dispatcher.notice(tenantId);
      return { delivery: toDelivery(delivery) };
    },
  };
}

/** Throws INVALID_ARGUMENT. */
function positionOf(pageToken: string): deliveries.DeliveryPosition | undefined {
  const token = decodePageToken(pageToken, 2);
  if (token === undefined) return undefined;
  const createdMicros = pageTokenNumber(token[0]);
  // What no timestamp can be would be an error of the database's.
  if (createdMicros < 0n || createdMicros > BigInt(latestUnix) * 1_000_000n) throw invalidField("page_token", "is of no time.");
  return { createdMicros, deliveryId: parseUuid("page_token", token[1] ?? "") };
}

function fromState(state: DeliveryState): deliveries.DeliveryState | undefined {
  switch (state) {
    case DeliveryState.UNSPECIFIED:
      return undefined;
    case DeliveryState.PENDING:
      return "PENDING";
    case DeliveryState.DELIVERED:
      return "DELIVERED";
    case DeliveryState.DEAD:
      return "DEAD";
    default:
      throw invalidField("state", `is ${state}, which is none.`);
  }
}

function toWebhook(webhook: Webhook): MessageInitShape<typeof WebhookSchema> {
  return {
    webhookId: webhook.webhookId,
    url: webhook.url,
    description: webhook.description,
    eventTypes: webhook.eventTypes,
    shareName: webhook.shareName ?? "",
    includePaths: webhook.includePaths,
    includePeople: webhook.includePeople,
    enabled: webhook.disabledUtc === null,
    disabledReason: webhook.disabledReason ?? "",
    ...timestampField("disableTime", webhook.disabledUtc),
    ...timestampField("lastSuccessTime", webhook.lastSuccessUtc),
    ...timestampField("previousSecretExpireTime", webhook.previousUntilUtc),
    ...timestampField("createTime", webhook.createdUtc),
    createdBy: webhook.createdBy,
    pending: webhook.pending,
    dead: webhook.dead,
  };
}

function toDelivery(delivery: deliveries.Delivery): MessageInitShape<typeof DeliverySchema> {
  return {
    deliveryId: delivery.deliveryId,
    webhookId: delivery.webhookId,
    eventType: delivery.eventType,
    shareName: delivery.shareName ?? "",
    state: DeliveryState[delivery.state],
    attempts: delivery.attempts,
    ...timestampField("createTime", delivery.createdUtc),
    ...timestampField("nextAttemptTime", delivery.nextAttemptUtc),
    ...timestampField("lastAttemptTime", delivery.lastAttemptUtc),
    lastStatus: delivery.lastStatus ?? 0,
    lastError: delivery.lastError ?? "",
    ...timestampField("finishTime", delivery.finishedUtc),
  };
}
