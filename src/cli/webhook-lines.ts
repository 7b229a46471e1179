/** Webhooks and deliveries as tables. */
import { type Delivery, DeliveryState, type Webhook } from "../gen/frostline/v1/webhook_pb.js";
import { count, isoTimestamp, table } from "./format.js";

export function webhookTable(webhooks: Webhook[]): string[] {
  const columns = [
    { title: "WEBHOOK ID" },
    { title: "STATE" },
    { title: "PENDING", align: "right" as const },
    { title: "DEAD", align: "right" as const },
    { title: "LAST TAKEN" },
    { title: "SHARE" },
    { title: "EVENTS" },
    { title: "WITH" },
    { title: "URL" },
  ];
  const rows = webhooks.map((webhook) => [
    webhook.webhookId,
    webhook.enabled ? "enabled" : "disabled",
    count(webhook.pending),
    count(webhook.dead),
    isoTimestamp(webhook.lastSuccessTime),
    webhook.shareName || "(all)",
    webhook.eventTypes.join(","),
    [...(webhook.includePaths ? ["paths"] : []), ...(webhook.includePeople ? ["people"] : [])].join(",") || "-",
    webhook.url,
  ]);
  const reasons = webhooks.filter(({ enabled }) => !enabled).map(({ webhookId, disabledReason }) => `${webhookId}: ${disabledReason}`);
  return [...table(columns, rows), ...(reasons.length === 0 ? [] : ["", ...reasons])];
}

/** Widths are fixed where pages follow each other. */
export function deliveryTable(deliveries: Delivery[]): string[] {
  const columns = [
    { title: "DELIVERY ID                         " },
    { title: "STATE    " },
    { title: "ATTEMPTS", align: "right" as const },
    { title: "STATUS", align: "right" as const },
    { title: "CREATED                 " },
    { title: "NEXT ATTEMPT            " },
    { title: "EVENT         " },
    { title: "SHARE" },
    { title: "ERROR" },
  ];
  return table(
    columns,
    deliveries.map((delivery) => [
      delivery.deliveryId,
      DeliveryState[delivery.state].toLowerCase(),
      String(delivery.attempts),
      delivery.lastStatus === 0 ? "-" : String(delivery.lastStatus),
      isoTimestamp(delivery.createTime),
      isoTimestamp(delivery.nextAttemptTime),
      delivery.eventType,
      delivery.shareName || "-",
      delivery.lastError,
    ]),
  );
}
