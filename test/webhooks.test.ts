/** Webhooks end to end: made by a call, told of what is warming, signed, tried again, given up, and switched off. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Client } from "../src/agent/client.js";
import { DeliveryState, WebhookService } from "../src/gen/frostline/v1/webhook_pb.js";
import { violationsOf } from "./support/audited-share.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { createWarmedShare, pushAccesses, type WarmedShare } from "./support/warmed-share.js";
import { isSignedWith, type Received, type Receiver, startReceiver } from "./support/webhook-receiver.js";
import { makeWebhook, oneWebhook, sql, type WebhookSurroundings, webhookClients, webhookSurroundings } from "./support/webhook-server.js";

let receiver: Receiver;
let surroundings: WebhookSurroundings;
let server: TestServer;
let share: WarmedShare;
let admin: Client;
let operator: Client;
let closeClients: () => void;
/** How the receiver answers by path. */
const statuses = new Map<string, number>();
const hold = new Set<() => void>();

beforeAll(async () => {
  receiver = await startReceiver(({ path }, response) => {
    const status = statuses.get(path) ?? 204;
    const headers = status === 302 ? { location: `https://127.0.0.1:${receiver.port}/elsewhere` } : {};
    const answer = () => void response.writeHead(status, headers).end();
    if (path === "/slow") hold.add(answer);
    else answer();
  });
  surroundings = await webhookSurroundings([receiver]);
  server = await startTestServer({ env: surroundings.env });
  share = await createWarmedShare(server, server, { files: 3 });
  ({ admin, operator, close: closeClients } = webhookClients(server));
});
afterAll(async () => {
  for (const answer of hold) answer();
  closeClients?.();
  await server?.close();
  await receiver?.close();
  await surroundings?.remove();
});

const at = (path: string) => receiver.url.replace("/hook", path);
const to = (path: string) => receiver.received.filter((message) => message.path === path);
const untilTo = (path: string, count: number) => receiver.until(() => to(path).length >= count).then(() => to(path));

async function deliveriesOf(webhookId: string, state = DeliveryState.UNSPECIFIED) {
  return (await operator.unary(WebhookService.method.listDeliveries, { webhookId, state })).deliveries;
}

/** Polls the contract, as a user would. */
async function untilDeliveries(webhookId: string, enough: (states: string[]) => boolean) {
  for (;;) {
    const found = await deliveriesOf(webhookId);
    if (enough(found.map(({ state }) => DeliveryState[state]))) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test("an access to a tiered file is told once, signed, and without paths or people unless they are asked for", async () => {
  const bare = await makeWebhook(admin, { url: at("/bare"), eventTypes: ["warming.alert"] });
  const full = await makeWebhook(admin, { url: at("/full"), eventTypes: ["warming.alert"], includePaths: true, includePeople: true });
  expect(bare.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  const [first] = share.paths as [string];
  await pushAccesses(share, [{ path: first, user: "ann", host: "desk" }]);
  const [plain] = (await untilTo("/bare", 1)) as [Received];
  const [whole] = (await untilTo("/full", 1)) as [Received];

  expect(isSignedWith(bare.secret, plain)).toBe(true);
  expect(isSignedWith(full.secret, plain)).toBe(false);
  expect(isSignedWith(full.secret, whole)).toBe(true);
  expect(Math.abs(plain.timestamp - Date.now() / 1000)).toBeLessThan(60);
  expect(plain.headers["content-type"]).toBe("application/json");
  expect(plain.message).toMatchObject({
    type: "warming.alert",
    data: { shareName: "warmed", accesses: [{ position: "1", sizeBytes: "1000" }] },
  });
  expect(plain.body).not.toMatch(/reel|take|ann|desk/);
  expect(whole.message.data).toMatchObject({ accesses: [{ path: first, user: "ann", host: "desk" }] });

  const [told] = await untilDeliveries(bare.webhookId, (states) => states.includes("DELIVERED"));
  expect(told).toMatchObject({ eventType: "warming.alert", shareName: "warmed", attempts: 1, lastStatus: 204, lastError: "" });
  expect(plain.id).toBe(`msg_${told?.deliveryId}`);
  expect(await oneWebhook(admin, bare.webhookId)).toMatchObject({ enabled: true, pending: 0n, dead: 0n });
  await untilDeliveries(full.webhookId, (states) => states.includes("DELIVERED"));
  for (const { webhookId } of [bare, full]) await admin.unary(WebhookService.method.deleteWebhook, { webhookId });
  expect(await sql(server, "SELECT FROM webhook_delivery")).toEqual([]);
});

test("a storm is one message, and its accesses are none", async () => {
  const stormy = await createWarmedShare(server, server, { shareName: "stormy", files: 3 });
  await sql(server, "UPDATE share SET storm_files_per_minute = 2 WHERE share_name = 'stormy'");
  const { webhookId } = await makeWebhook(admin, {
    url: at("/storm"),
    eventTypes: ["warming.alert", "warming.storm"],
    shareName: "stormy",
  });
  await pushAccesses(
    stormy,
    stormy.paths.map((path) => ({ path })),
  );
  // Of another share: not for it.
  await pushAccesses(share, [{ path: share.paths[0] as string }]);
  const [message] = (await untilTo("/storm", 1)) as [Received];
  expect(message.message).toMatchObject({ type: "warming.storm", data: { shareName: "stormy", files: "3", filesPerMinuteLimit: "2" } });
  await untilDeliveries(webhookId, (states) => states.includes("DELIVERED"));
  const [{ newest }] = (await sql(server, "SELECT last_position AS newest FROM warming_position")) as [{ newest: string }];
  for (;;) {
    const [{ position }] = (await sql(server, "SELECT warming_position AS position FROM webhook")) as [{ position: string }];
    if (position === newest) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(await deliveriesOf(webhookId)).toHaveLength(1);
  await admin.unary(WebhookService.method.deleteWebhook, { webhookId });
});

test("a failure is tried again with the same id, then given up, and can be tried again by hand", { timeout: 30_000 }, async () => {
  statuses.set("/flaky", 500);
  const { webhookId, secret } = await makeWebhook(admin, { url: at("/flaky"), eventTypes: ["warming.alert"] });
  // Something was taken once the message is there, so that it is not the webhook which is given up.
  await pushAccesses(share, [{ path: share.paths[1] as string }]);
  await untilTo("/flaky", 1);
  await sql(server, "UPDATE webhook SET last_success_utc = now() WHERE webhook_id = $1", [webhookId]);
  const [dead] = await untilDeliveries(webhookId, (states) => states.includes("DEAD"));
  const tried = to("/flaky");
  expect(tried).toHaveLength(3);
  expect(new Set(tried.map(({ id }) => id)).size).toBe(1);
  expect(tried.every((message) => isSignedWith(secret, message))).toBe(true);
  expect(dead).toMatchObject({ attempts: 3, lastStatus: 500, lastError: "The receiver answered 500." });
  expect(await oneWebhook(admin, webhookId)).toMatchObject({ enabled: true, dead: 1n });
  expect(await deliveriesOf(webhookId, DeliveryState.DEAD)).toHaveLength(1);

  statuses.set("/flaky", 200);
  await operator.unary(WebhookService.method.retryDelivery, { deliveryId: dead?.deliveryId ?? "" });
  await untilDeliveries(webhookId, (states) => states.includes("DELIVERED"));
  expect(to("/flaky").at(-1)?.id).toBe(tried[0]?.id);
  await expect(operator.unary(WebhookService.method.retryDelivery, { deliveryId: dead?.deliveryId ?? "" })).rejects.toMatchObject({
    code: "FAILED_PRECONDITION",
  });
  await admin.unary(WebhookService.method.deleteWebhook, { webhookId });
});

test("a webhook that takes nothing at all, or says that it is gone, is disabled and says why", { timeout: 30_000 }, async () => {
  statuses.set("/down", 503);
  statuses.set("/gone", 410);
  const down = await makeWebhook(admin, { url: at("/down"), eventTypes: ["warming.alert"] });
  const gone = await makeWebhook(admin, { url: at("/gone"), eventTypes: ["warming.alert"] });
  await pushAccesses(share, [{ path: share.paths[2] as string }]);
  const [dead] = await untilDeliveries(down.webhookId, (states) => states.includes("DEAD"));
  await untilDeliveries(gone.webhookId, (states) => states.includes("DEAD"));
  expect(await oneWebhook(admin, down.webhookId)).toMatchObject({
    enabled: false,
    disabledReason: expect.stringContaining("Every attempt"),
  });
  expect(await oneWebhook(admin, gone.webhookId)).toMatchObject({ enabled: false, disabledReason: "Its receiver answered 410 Gone." });
  expect(to("/gone")).toHaveLength(1);
  await expect(operator.unary(WebhookService.method.retryDelivery, { deliveryId: dead?.deliveryId ?? "" })).rejects.toMatchObject({
    code: "FAILED_PRECONDITION",
  });

  // What happens meanwhile is not told, what comes once it is enabled is.
  await pushAccesses(share, [{ path: share.paths[0] as string }]);
  statuses.set("/down", 204);
  const enabled = await admin.unary(WebhookService.method.updateWebhook, { webhookId: down.webhookId, enabled: true });
  expect(enabled.webhook).toMatchObject({ enabled: true, disabledReason: "" });
  await pushAccesses(share, [{ path: share.paths[1] as string }]);
  const [after] = (await untilTo("/down", 4)).slice(3) as [Received];
  expect(after.message.data).toMatchObject({ accesses: [{ fileId: expect.any(String) }] });
  expect((after.message.data.accesses as unknown[]).length).toBe(1);
  for (const { webhookId } of [down, gone]) await admin.unary(WebhookService.method.deleteWebhook, { webhookId });
});

test("a redirect is a failure and is not followed; a test says so at once", async () => {
  statuses.set("/moved", 302);
  // By a name, which is looked up; all else here is sent to an address.
  const url = at("/moved").replace("127.0.0.1", "localhost");
  const { webhookId, secret } = await makeWebhook(admin, { url, eventTypes: ["scan.stale"] });
  const failed = await operator.unary(WebhookService.method.sendTestEvent, { webhookId });
  expect(failed.delivery).toMatchObject({ state: DeliveryState.DEAD, lastStatus: 302, eventType: "webhook.test" });
  expect(to("/elsewhere")).toEqual([]);
  statuses.set("/moved", 204);
  const taken = await operator.unary(WebhookService.method.sendTestEvent, { webhookId });
  expect(taken.delivery).toMatchObject({ state: DeliveryState.DELIVERED, lastStatus: 204, lastError: "" });
  expect(isSignedWith(secret, to("/moved").at(-1) as Received)).toBe(true);
  await admin.unary(WebhookService.method.deleteWebhook, { webhookId });
});

test("a rotated secret signs beside the old one, then alone", async () => {
  const { webhookId, secret: old } = await makeWebhook(admin, { url: at("/rotated"), eventTypes: ["scan.stale"] });
  const rotated = await admin.unary(WebhookService.method.rotateWebhookSecret, { webhookId });
  expect(rotated.webhook?.previousSecretExpireTime).toBeDefined();
  await operator.unary(WebhookService.method.sendTestEvent, { webhookId });
  const both = to("/rotated").at(-1) as Received;
  expect([isSignedWith(old, both), isSignedWith(rotated.secret, both)]).toEqual([true, true]);
  expect(both.signature.split(" ")).toHaveLength(2);
  const last = await admin.unary(WebhookService.method.rotateWebhookSecret, { webhookId, overlapSeconds: 0 });
  await operator.unary(WebhookService.method.sendTestEvent, { webhookId });
  const alone = to("/rotated").at(-1) as Received;
  expect([old, rotated.secret, last.secret].map((secret) => isSignedWith(secret, alone))).toEqual([false, false, true]);
  await expect(admin.unary(WebhookService.method.rotateWebhookSecret, { webhookId, overlapSeconds: 604_801 })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
  await admin.unary(WebhookService.method.deleteWebhook, { webhookId });
});

test("deliveries are listed in pages, each once, the newest first; a token that is none is refused", async () => {
  const { webhookId } = await makeWebhook(admin, { url: at("/pages"), eventTypes: ["scan.stale"] });
  for (let no = 0; no < 5; no++) await operator.unary(WebhookService.method.sendTestEvent, { webhookId });
  // Two of one moment: the id tells them apart.
  await sql(
    server,
    "UPDATE webhook_delivery SET created_utc = date_trunc('second', created_utc) + interval '1 microsecond' WHERE webhook_id = $1",
    [webhookId],
  );
  const all = (await deliveriesOf(webhookId)).map(({ deliveryId }) => deliveryId);
  const paged: string[] = [];
  let pageToken = "";
  do {
    const page = await operator.unary(WebhookService.method.listDeliveries, { webhookId, pageSize: 2, pageToken });
    paged.push(...page.deliveries.map(({ deliveryId }) => deliveryId));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(all).toHaveLength(5);
  expect(paged).toEqual(all);
  for (const position of [
    ["0", "-".repeat(36)],
    ["9223372036854775807", all[0]],
    ["-1", all[0]],
    ["2026-02-30 00:00:00+00", all[0]],
    ["1"],
  ]) {
    const forged = Buffer.from(JSON.stringify(position)).toString("base64url");
    await expect(operator.unary(WebhookService.method.listDeliveries, { pageToken: forged }), forged).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  }
  await admin.unary(WebhookService.method.deleteWebhook, { webhookId });
});

test("a receiver that hangs holds up no other", { timeout: 30_000 }, async () => {
  const slow = await makeWebhook(admin, { url: at("/slow"), eventTypes: ["warming.alert"] });
  const quick = await makeWebhook(admin, { url: at("/quick"), eventTypes: ["warming.alert"] });
  for (let batch = 1; batch <= 8; batch++) {
    await pushAccesses(share, [{ path: share.paths[batch % 3] as string }]);
    await untilTo("/quick", batch);
  }
  await untilDeliveries(quick.webhookId, (states) => states.length === 8 && states.every((state) => state === "DELIVERED"));
  // Four requests are open, and no more.
  expect(to("/slow")).toHaveLength(4);
  const waiting = await deliveriesOf(slow.webhookId);
  expect(waiting.map(({ state }) => DeliveryState[state])).toEqual(Array(8).fill("PENDING"));
  expect(await violationsOf(server.database)).toEqual([]);
  while (to("/slow").length < 8 || hold.size > 0) {
    for (const answer of hold) answer();
    hold.clear();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await untilDeliveries(slow.webhookId, (states) => states.every((state) => state === "DELIVERED"));
  expect(to("/slow")).toHaveLength(8);
  for (const { webhookId } of [slow, quick]) await admin.unary(WebhookService.method.deleteWebhook, { webhookId });
});

test("what is asked for is checked, and the number is bounded", async () => {
  const request = { url: at("/x"), eventTypes: ["scan.stale"] };
  const bad = [
    { ...request, url: "http://93.184.216.34/" },
    { ...request, url: "https://10.1.2.3/" },
    { ...request, url: "https://[::ffff:10.1.2.3]/" },
    { ...request, url: "https://user:pass@example.com/" },
    { ...request, url: "ftp://example.com/" },
    { ...request, url: `https://example.com/${"x".repeat(2000)}` },
    { ...request, eventTypes: [] },
    { ...request, eventTypes: ["warming.cooled"] },
    { ...request, eventTypes: ["scan.stale", "scan.stale"] },
    { ...request, description: "a\u0000b" },
  ];
  for (const one of bad) {
    await expect(admin.unary(WebhookService.method.createWebhook, one), JSON.stringify(one)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  }
  await expect(admin.unary(WebhookService.method.createWebhook, { ...request, shareName: "none" })).rejects.toMatchObject({
    code: "NOT_FOUND",
  });
  const made = [];
  for (let count = 0; count < 50; count++) made.push(await makeWebhook(admin, request));
  await expect(admin.unary(WebhookService.method.createWebhook, request)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
  for (const { webhookId } of made) await admin.unary(WebhookService.method.deleteWebhook, { webhookId });
  await expect(admin.unary(WebhookService.method.deleteWebhook, { webhookId: made[0]?.webhookId ?? "" })).rejects.toMatchObject({
    code: "NOT_FOUND",
  });
});
