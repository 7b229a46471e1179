/** Servers that send webhooks to receivers of a test: with a master key, the receiver's authority, and 127.0.0.1 allowed. */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { type Client, createClient } from "../../src/agent/client.js";
import { type Webhook, WebhookService } from "../../src/gen/frostline/v1/webhook_pb.js";
import { withClient } from "./postgres.js";
import { scratchDirectory } from "./scratch.js";
import type { TestServer } from "./server.js";
import type { Receiver } from "./webhook-receiver.js";

export interface WebhookSurroundings {
  /** Of the server. */
  env: Record<string, string>;
  masterKeyFile: string;
  remove(): Promise<void>;
}

export function masterKeyLine(id: string): string {
  return `${id} ${randomBytes(32).toString("base64")}\n`;
}

/** Attempts one second apart, jitter aside; `attempts` in all. */
export async function webhookSurroundings(receivers: Pick<Receiver, "ca">[], attempts = 3): Promise<WebhookSurroundings> {
  const scratch = await scratchDirectory();
  const masterKeyFile = path.join(scratch.path, "master.key");
  const caFile = path.join(scratch.path, "ca.pem");
  await fs.writeFile(masterKeyFile, masterKeyLine("first"), { mode: 0o600 });
  await fs.writeFile(caFile, receivers.map(({ ca }) => ca).join(""));
  const env = {
    FROSTLINE_MASTER_KEY_FILE: masterKeyFile,
    FROSTLINE_WEBHOOK_ALLOW_PRIVATE: "127.0.0.1/32",
    FROSTLINE_WEBHOOK_CA: caFile,
    FROSTLINE_WEBHOOK_RETRY_SECONDS: Array(attempts - 1)
      .fill("1")
      .join(),
  };
  return { env, masterKeyFile, remove: scratch.remove };
}

/** A client of each scope that webhooks need; close both. */
export function webhookClients(server: TestServer): { admin: Client; operator: Client; close(): void } {
  const [admin, operator] = (["admin", "operator"] as const).map((scope) =>
    createClient({ server: server.address, key: server.keys[scope] }),
  ) as [Client, Client];
  return {
    admin,
    operator,
    close: () => {
      admin.close();
      operator.close();
    },
  };
}

/** Returns its id and its secret. */
export async function makeWebhook(
  admin: Client,
  request: { url: string; eventTypes: string[]; shareName?: string; includePaths?: boolean; includePeople?: boolean },
): Promise<{ webhookId: string; secret: string; webhook: Webhook }> {
  const { webhook, secret } = await admin.unary(WebhookService.method.createWebhook, request);
  return { webhookId: (webhook as Webhook).webhookId, secret, webhook: webhook as Webhook };
}

export async function oneWebhook(admin: Client, webhookId: string): Promise<Webhook> {
  const { webhooks } = await admin.unary(WebhookService.method.listWebhooks, {});
  const found = webhooks.find((webhook) => webhook.webhookId === webhookId);
  if (found === undefined) throw new Error("no such webhook");
  return found;
}

/** As a superuser, past row-level security. */
export async function sql<Row extends Record<string, unknown>>(server: TestServer, text: string, values: unknown[] = []): Promise<Row[]> {
  return withClient(server.database.superuserUrl, async (client) => (await client.query<Row>(text, values)).rows);
}
