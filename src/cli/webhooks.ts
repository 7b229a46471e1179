/** `webhooks`: where alarms are sent to, and what became of them. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Command } from "commander";
import {
  CreateWebhookResponseSchema,
  DeleteWebhookResponseSchema,
  RotateWebhookSecretResponseSchema,
  type UpdateWebhookRequestSchema,
  type Webhook,
  WebhookSchema,
  WebhookService,
} from "../gen/frostline/v1/webhook_pb.js";
import { action, type Context } from "./command.js";
import { withClient } from "./connection.js";
import { UsageError } from "./errors.js";
import { parseDuration } from "./parse.js";
import { addDeliveries } from "./webhook-deliveries.js";
import { webhookTable } from "./webhook-lines.js";

interface AddOptions {
  events: string[];
  description?: string;
  share?: string;
  paths?: boolean;
  people?: boolean;
}

interface ChangeOptions extends Partial<Omit<AddOptions, "share">> {
  url?: string;
}

export function addWebhooks(program: Command): void {
  const webhooks = program
    .command("webhooks")
    .description("addresses that alarms are sent to, signed; needs an admin key, deliveries an operator's");
  addAdd(webhooks);
  webhooks
    .command("list", { isDefault: true })
    .description("list them, without secrets (the default); exit status 3 when one is disabled")
    .action(
      action(async (context) => {
        const { webhooks: all } = await withClient(context.global, "admin", (client) =>
          client.unary(WebhookService.method.listWebhooks, {}),
        );
        await print(context, all);
        return all.every(({ enabled }) => enabled) ? 0 : 3;
      }),
    );
  addChange(webhooks);
  addSwitch(webhooks, "enable", true, "send to it again, of what happens from now on");
  addSwitch(webhooks, "disable", false, "send nothing more, and give up what waits");
  addRotate(webhooks);
  webhooks
    .command("remove <webhook-id>")
    .description("remove one, with all its deliveries")
    .action(
      action(async ({ global, output }, _options: object, webhookId: string) => {
        const removed = await withClient(global, "admin", (client) => client.unary(WebhookService.method.deleteWebhook, { webhookId }));
        if (output.json) await output.printMessages(DeleteWebhookResponseSchema, [removed]);
        else await output.print(["Removed."]);
        return 0;
      }),
    );
  addDeliveries(webhooks);
}

function addAdd(webhooks: Command): void {
  webhooks
    .command("add <url>")
    .description("add one; the secret that its messages are signed with is shown once and never again")
    .requiredOption(
      "--events <types>",
      "what it is told: warming.alert, warming.storm, scan.stale, scan.recovered, scan.brake; several with commas",
      parseTypes,
    )
    .option("--description <text>", "for people")
    .option("--share <name>", "only of this share (default: of all)")
    .option("--paths", "messages have the paths of files")
    .option("--people", "messages have users and hosts")
    .action(
      action(async ({ global, output }, { events, description, share, paths, people }: AddOptions, url: string) => {
        const request = {
          url,
          eventTypes: events,
          description: description ?? "",
          shareName: share ?? "",
          includePaths: paths ?? false,
          includePeople: people ?? false,
        };
        const made = await withClient(global, "admin", (client) => client.unary(WebhookService.method.createWebhook, request));
        if (output.json) {
          await output.printMessages(CreateWebhookResponseSchema, [made]);
          return 0;
        }
        await output.print([...webhookTable([made.webhook as Webhook]), "", `secret: ${made.secret}`]);
        output.note("Keep the secret now: it cannot be shown again.");
        return 0;
      }),
    );
}

function addChange(webhooks: Command): void {
  webhooks
    .command("change <webhook-id>")
    .description("change one; what is not given stays")
    .option("--url <url>", "where to")
    .option("--events <types>", "all it is told, with commas", parseTypes)
    .option("--description <text>", "for people")
    .option("--paths", "messages have the paths of files")
    .option("--no-paths", "they do not")
    .option("--people", "messages have users and hosts")
    .option("--no-people", "they do not")
    .action(
      action(async (context, options: ChangeOptions, webhookId: string) => {
        const { url, events, description, paths, people } = options;
        const given = {
          ...(url === undefined ? {} : { url }),
          ...(events === undefined ? {} : { eventTypes: { eventTypes: events } }),
          ...(description === undefined ? {} : { description }),
          ...(paths === undefined ? {} : { includePaths: paths }),
          ...(people === undefined ? {} : { includePeople: people }),
        };
        if (Object.keys(given).length === 0) throw new UsageError("Nothing is to be changed. Give an option such as --url or --events.");
        return update(context, { webhookId, ...given });
      }),
    );
}

function addSwitch(webhooks: Command, name: string, enabled: boolean, description: string): void {
  webhooks
    .command(`${name} <webhook-id>`)
    .description(description)
    .action(action((context, _options: object, webhookId: string) => update(context, { webhookId, enabled })));
}

async function update(context: Context, request: MessageInitShape<typeof UpdateWebhookRequestSchema>): Promise<0> {
  const { webhook } = await withClient(context.global, "admin", (client) => client.unary(WebhookService.method.updateWebhook, request));
  await print(context, [webhook as Webhook]);
  return 0;
}

function addRotate(webhooks: Command): void {
  webhooks
    .command("rotate <webhook-id>")
    .description("make a new secret, shown once; the old one signs beside it for a while")
    .option("--overlap <duration>", "so long, as 2d or 6h, at most 7d; 0s: not at all", parseDuration, 86_400)
    .action(
      action(async ({ global, output }, { overlap: overlapSeconds }: { overlap: number }, webhookId: string) => {
        const request = { webhookId, overlapSeconds };
        const rotated = await withClient(global, "admin", (client) => client.unary(WebhookService.method.rotateWebhookSecret, request));
        if (output.json) {
          await output.printMessages(RotateWebhookSecretResponseSchema, [rotated]);
          return 0;
        }
        await output.print([...webhookTable([rotated.webhook as Webhook]), "", `secret: ${rotated.secret}`]);
        output.note("Keep the secret now: it cannot be shown again.");
        return 0;
      }),
    );
}

async function print({ output }: Context, webhooks: Webhook[]): Promise<void> {
  if (output.json) await output.printMessages(WebhookSchema, webhooks);
  else await output.print(webhookTable(webhooks));
}

function parseTypes(text: string): string[] {
  return text.split(",").map((type) => type.trim());
}
