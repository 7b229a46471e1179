/** `webhooks deliveries`, `retry` and `test`. */
import type { Command } from "commander";
import type { Client } from "../agent/client.js";
import { type Delivery, DeliverySchema, DeliveryState, WebhookService } from "../gen/frostline/v1/webhook_pb.js";
import { action, type Context } from "./command.js";
import { withClient } from "./connection.js";
import { parseWhole } from "./parse.js";
import { deliveryTable } from "./webhook-lines.js";

const pageSize = 1000;

interface ListOptions {
  webhook?: string;
  dead?: boolean;
  pending?: boolean;
  limit: number;
}

export function addDeliveries(webhooks: Command): void {
  webhooks
    .command("deliveries")
    .description("list messages, the newest first")
    .option("--webhook <webhook-id>", "only to this one")
    .option("--dead", "only those that were given up")
    .option("--pending", "only those that wait")
    .option("--limit <n>", "at most so many", parseWhole(1), 100)
    .action(
      action(async (context, options: ListOptions) => {
        if (options.dead === true && options.pending === true) webhooks.error("error: give --dead or --pending, not both");
        await withClient(context.global, "operator", (client) => printPages(client, context, options));
        return 0;
      }),
    );
  webhooks
    .command("retry <delivery-id...>")
    .description("try messages again that were given up")
    .action(
      action(async (context, _options: object, deliveryIds: string[]) => {
        await withClient(context.global, "operator", async (client) => {
          for (const deliveryId of deliveryIds) {
            const { delivery } = await client.unary(WebhookService.method.retryDelivery, { deliveryId });
            await print(context, [delivery as Delivery], deliveryId === deliveryIds[0]);
          }
        });
        return 0;
      }),
    );
  webhooks
    .command("test <webhook-id>")
    .description("send a test message now; exit status 1 when it is not taken")
    .action(
      action(async (context, _options: object, webhookId: string) => {
        const { delivery } = await withClient(context.global, "operator", (client) =>
          client.unary(WebhookService.method.sendTestEvent, { webhookId }),
        );
        await print(context, [delivery as Delivery], true);
        return delivery?.state === DeliveryState.DELIVERED ? 0 : 1;
      }),
    );
}

async function printPages(client: Client, context: Context, { webhook = "", dead, pending, limit }: ListOptions): Promise<void> {
  const state = dead ? DeliveryState.DEAD : pending ? DeliveryState.PENDING : DeliveryState.UNSPECIFIED;
  let left = limit;
  let pageToken = "";
  do {
    const request = { webhookId: webhook, state, pageSize: Math.min(left, pageSize), pageToken };
    const page = await client.unary(WebhookService.method.listDeliveries, request);
    await print(context, page.deliveries, pageToken === "");
    left -= page.deliveries.length;
    pageToken = page.nextPageToken;
  } while (pageToken !== "" && left > 0);
}

async function print({ output }: Context, deliveries: Delivery[], withHeader: boolean): Promise<void> {
  if (output.json) await output.printMessages(DeliverySchema, deliveries);
  else await output.print(deliveryTable(deliveries).slice(withHeader ? 0 : 1));
}
