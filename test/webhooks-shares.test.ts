/** Alarms of shares: a scan that is too old, one that its brake holds; what is kept of messages, and what goes with whom. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, createClient } from "../src/agent/client.js";
import { createPools } from "../src/db/pool.js";
import { RetentionService } from "../src/gen/frostline/v1/retention_pb.js";
import { ShareService } from "../src/gen/frostline/v1/share_pb.js";
import { DeliveryState, WebhookService } from "../src/gen/frostline/v1/webhook_pb.js";
import { applyRetention } from "../src/retention/run.js";
import { violationsOf } from "./support/audited-share.js";
import { scanTree } from "./support/audited-trail.js";
import { startSeconds } from "./support/generated-trail.js";
import type { FakeTree } from "./support/ingest.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { createWarmedShare, pushAccesses, type WarmedShare } from "./support/warmed-share.js";
import { type Received, type Receiver, startReceiver } from "./support/webhook-receiver.js";
import { makeWebhook, sql, type WebhookSurroundings, webhookClients, webhookSurroundings } from "./support/webhook-server.js";

let receiver: Receiver;
let surroundings: WebhookSurroundings;
let server: TestServer;
let share: WarmedShare;
let other: WarmedShare;
let admin: Client;
let operator: Client;
let closeClients: () => void;
/** Of the next answers. */
let status = 204;

beforeAll(async () => {
  receiver = await startReceiver((_, response) => void response.writeHead(status).end());
  surroundings = await webhookSurroundings([receiver]);
  server = await startTestServer({ env: surroundings.env });
  share = await createWarmedShare(server, server, { files: 1 });
  other = await createWarmedShare(server, server, { shareName: "other", files: 1 });
  ({ admin, operator, close: closeClients } = webhookClients(server));
});
afterAll(async () => {
  closeClients?.();
  await server?.close();
  await receiver?.close();
  await surroundings?.remove();
});

const ofType = (type: string) => receiver.received.filter(({ message }) => message.type === type);
const untilType = (type: string, count: number) => receiver.until(() => ofType(type).length >= count).then(() => ofType(type));

/** Also has the server look at once. */
async function staleAfter(seconds: bigint) {
  const request = { shareName: "warmed", staleScanAlarmSeconds: seconds };
  return (await operator.unary(ShareService.method.setStaleScanAlarm, request)).share;
}

test("a scan that is too old is told once, and that there is a new one, to webhooks of that share and of all", async () => {
  const eventTypes = ["scan.stale", "scan.recovered"];
  const all = await makeWebhook(admin, { url: receiver.url, eventTypes });
  const mine = await makeWebhook(admin, { url: receiver.url, eventTypes, shareName: "warmed" });
  const others = await makeWebhook(admin, { url: receiver.url, eventTypes, shareName: "other" });
  expect(await staleAfter(3600n)).toMatchObject({ staleScanAlarmSeconds: 3600n, stale: false });
  await sql(server, "UPDATE share SET last_complete_utc = now() - interval '1 hour 1 second' WHERE share_name = 'warmed'");
  expect(await staleAfter(3600n)).toMatchObject({ stale: true });
  const told = (await untilType("scan.stale", 2)) as [Received, Received];
  const [{ scan }] = (await sql(server, "SELECT last_complete_scan_id AS scan FROM share WHERE share_name = 'warmed'")) as [
    { scan: string },
  ];
  for (const { message } of told) {
    expect(message.data).toEqual({
      shareName: "warmed",
      staleScanAlarmSeconds: "3600",
      lastCompleteScanId: scan,
      lastCompleteTime: expect.any(String),
    });
  }
  // Once, however often it is looked at.
  await staleAfter(3600n);
  await staleAfter(1800n);
  const tree: FakeTree = new Map([["/", new Map()]]);
  await scanTree(share, tree, startSeconds + 10);
  expect(await staleAfter(1800n)).toMatchObject({ stale: false });
  await untilType("scan.recovered", 2);
  const { deliveries } = await operator.unary(WebhookService.method.listDeliveries, {});
  expect(deliveries.map(({ webhookId, eventType }) => `${webhookId} ${eventType}`).sort()).toEqual(
    [all, mine].flatMap(({ webhookId }) => eventTypes.map((type) => `${webhookId} ${type}`)).sort(),
  );
  expect(ofType("scan.stale").length).toBe(2);
  for (const seconds of [59n, -1n, 315_360_001n]) await expect(staleAfter(seconds)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await staleAfter(0n)).toMatchObject({ staleScanAlarmSeconds: 0n, stale: false });
  for (const { webhookId } of [all, mine, others]) await admin.unary(WebhookService.method.deleteWebhook, { webhookId });
});

test("a scan that its brake holds is told once", async () => {
  const { webhookId } = await makeWebhook(admin, { url: receiver.url, eventTypes: ["scan.brake"] });
  await sql(
    server,
    `INSERT INTO scan (tenant_id, share_id, src_type, mode, brake_limit, brake_wanted) SELECT tenant_id, share_id, src_type, 'FULL', 50, 400 FROM share WHERE share_name = 'other'`,
  );
  await staleAfter(0n);
  const [{ message }] = (await untilType("scan.brake", 1)) as [Received];
  expect(message.data).toEqual({ shareName: "other", scanId: expect.any(String), filesGone: "400", brakeLimit: "50" });
  await staleAfter(0n);
  await sql(server, "UPDATE scan SET status = 'ABANDONED', finished_utc = now() WHERE status = 'RUNNING'");
  await admin.unary(WebhookService.method.deleteWebhook, { webhookId });
});

test("a person who is erased before a message is sent is not in it; what is told of a share goes with it", async () => {
  status = 503;
  const alert = { url: receiver.url, eventTypes: ["warming.alert"], includePaths: true, includePeople: true };
  const { webhookId } = await makeWebhook(admin, alert);
  await makeWebhook(admin, { ...alert, shareName: "warmed" });
  await pushAccesses(other, [{ path: other.paths[0] as string, user: "ada lovelace" }]);
  const [first] = (await untilType("warming.alert", 1)) as [Received];
  expect(first.body).toContain("ada lovelace");
  await admin.unary(RetentionService.method.erasePerson, { name: "ada lovelace" });
  expect(JSON.stringify(await sql(server, "SELECT * FROM webhook_delivery"))).not.toMatch(/ada lovelace|reel/);
  status = 204;
  const again = (await untilType("warming.alert", 2)).at(-1) as Received;
  expect(again.id).toBe(first.id);
  expect(again.message.data).toMatchObject({ accesses: [{ path: other.paths[0], user: "", host: "desk" }] });

  for (const shareName of ["other", "warmed"]) await admin.unary(RetentionService.method.eraseShare, { shareName, abandonTiered: true });
  expect(await sql(server, "SELECT webhook_id FROM webhook")).toEqual([{ webhook_id: webhookId }]);
  expect(await sql(server, "SELECT FROM webhook_delivery")).toEqual([]);
  expect(await violationsOf(server.database)).toEqual([]);
});

test("messages that were taken are kept for a week, dead ones for a month, and secrets no longer than they sign", async () => {
  const { webhooks } = await admin.unary(WebhookService.method.listWebhooks, {});
  const webhookId = webhooks[0]?.webhookId as string;
  await operator.unary(WebhookService.method.sendTestEvent, { webhookId });
  await admin.unary(WebhookService.method.rotateWebhookSecret, { webhookId, overlapSeconds: 60 });
  await sql(
    server,
    `INSERT INTO webhook_delivery (tenant_id, webhook_id, event_type, state, finished_utc, last_error)
     SELECT tenant_id, webhook_id, 'webhook.test', state, now() - days * interval '1 day', state || ' ' || days
     FROM webhook, (VALUES ('DELIVERED', 6), ('DELIVERED', 8), ('DEAD', 29), ('DEAD', 31)) v (state, days)`,
  );
  await sql(server, "UPDATE webhook SET previous_until_utc = now() - interval '1 second'");
  const pools = createPools(server.database.runtimeUrl, { queryPoolMax: 1, ingestPoolMax: 1, onIdleError: () => {} });
  const client = await pools.query.connect();
  await applyRetention(client, server.tenantId, new AbortController().signal);
  client.release();
  await pools.end();
  const { deliveries } = await operator.unary(WebhookService.method.listDeliveries, {});
  expect(deliveries.map(({ lastError }) => lastError).sort()).toEqual(["", "DEAD 29", "DELIVERED 6"]);
  expect(await sql(server, "SELECT previous_secret FROM webhook")).toEqual([{ previous_secret: null }]);
  const dead = await operator.unary(WebhookService.method.listDeliveries, { state: DeliveryState.DEAD, pageSize: 1 });
  expect(dead).toMatchObject({ deliveries: [{ lastError: "DEAD 29" }] });
  const pages = [];
  for (let pageToken: string | undefined; pageToken !== ""; ) {
    const page = await operator.unary(WebhookService.method.listDeliveries, { pageSize: 1, pageToken: pageToken ?? "" });
    pages.push(...page.deliveries.map(({ deliveryId }) => deliveryId));
    pageToken = page.nextPageToken;
  }
  expect(pages).toEqual(deliveries.map(({ deliveryId }) => deliveryId));
  const reader = createClient({ server: server.address, key: server.keys.reader });
  const { jobs } = await reader.unary(RetentionService.method.getRetention, {}).finally(reader.close);
  expect(jobs.find(({ job }) => job === "webhooks")).toMatchObject({ lastRemoved: 2n });
});
