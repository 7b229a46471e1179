/** `frostline webhooks`, `secrets` and `share stale-alarm` from outside; and a master key that is lost, as docs/secrets.md says. */
import * as fs from "node:fs/promises";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { violationsOf } from "./support/audited-share.js";
import { frostline, jsonLines } from "./support/command.js";
import { createTestDatabase, type TestDatabase, withClient } from "./support/postgres.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";
import { isSignedWith, type Received, type Receiver, startReceiver } from "./support/webhook-receiver.js";
import { masterKeyLine, type WebhookSurroundings, webhookSurroundings } from "./support/webhook-server.js";

let database: TestDatabase;
let platform: TestTenant;
let tenant: TestTenant;
let receiver: Receiver;
let surroundings: WebhookSurroundings;
let server: TestServer;
/** Of the next answers. */
let status = 204;

beforeAll(async () => {
  database = await createTestDatabase();
  platform = await createTestTenant(database, { isPlatform: true });
  tenant = await createTestTenant(database);
  receiver = await startReceiver((_, response) => void response.writeHead(status).end());
  surroundings = await webhookSurroundings([receiver], 2);
  server = await startTestServer({ database, tenant, env: surroundings.env });
});
afterAll(async () => {
  await server?.close();
  await receiver?.close();
  await surroundings?.remove();
  await database?.drop();
});

const as = (scope: "admin" | "operator" | "reader", args: string[], of: TestTenant = tenant) =>
  frostline(args, { env: { FROSTLINE_SERVER: server.address, FROSTLINE_KEY: of.keys[scope] } });
const one = <T>(stdout: string) => jsonLines<T>(stdout)[0] as T;

interface WebhookJson {
  webhookId: string;
  enabled?: boolean;
  url: string;
  description?: string;
  eventTypes: string[];
  includePaths?: boolean;
  disabledReason?: string;
}
interface WithSecretJson {
  webhook: WebhookJson;
  secret: string;
}
interface DeliveryJson {
  deliveryId: string;
  state: string;
  lastStatus?: number;
}

async function add(...more: string[]): Promise<WithSecretJson> {
  const {
    status: exit,
    stdout,
    stderr,
  } = await as("admin", ["webhooks", "add", receiver.url, "--events", "scan.stale", "--json", ...more]);
  expect(exit, stderr).toBe(0);
  return one<WithSecretJson>(stdout);
}

test("a webhook's life: added, tried, changed, its secret rotated, disabled, enabled, removed", { timeout: 120_000 }, async () => {
  const { webhook, secret } = await add("--description", "night shift");
  const id = webhook.webhookId;
  expect(webhook).toMatchObject({ url: receiver.url, description: "night shift", eventTypes: ["scan.stale"], enabled: true });
  const tried = await as("operator", ["webhooks", "test", id, "--json"]);
  expect(tried.status, tried.stderr).toBe(0);
  expect(one<DeliveryJson>(tried.stdout)).toMatchObject({ state: "DELIVERY_STATE_DELIVERED", lastStatus: 204 });
  expect(isSignedWith(secret, receiver.received.at(-1) as Received)).toBe(true);

  const changed = await as("admin", ["webhooks", "change", id, "--events", "scan.stale,scan.recovered", "--paths", "--json"]);
  expect(one<WebhookJson>(changed.stdout)).toMatchObject({ eventTypes: ["scan.stale", "scan.recovered"], includePaths: true });
  const rotated = one<WithSecretJson>((await as("admin", ["webhooks", "rotate", id, "--overlap", "0s", "--json"])).stdout);
  await as("operator", ["webhooks", "test", id]);
  expect([secret, rotated.secret].map((each) => isSignedWith(each, receiver.received.at(-1) as Received))).toEqual([false, true]);

  expect(await as("admin", ["webhooks"])).toMatchObject({ status: 0, stdout: expect.stringMatching(/enabled +0 +0 /) });
  expect((await as("admin", ["webhooks", "disable", id])).status).toBe(0);
  const listed = await as("admin", ["webhooks", "list"]);
  expect(listed).toMatchObject({ status: 3, stdout: expect.stringContaining("An administrator has disabled it.") });
  expect(listed.stdout).not.toContain("whsec_");
  expect(one<WebhookJson>((await as("admin", ["webhooks", "enable", id, "--json"])).stdout)).toMatchObject({ enabled: true });

  status = 500;
  const failed = await as("operator", ["webhooks", "test", id, "--json"]);
  status = 204;
  const { deliveryId, state } = one<DeliveryJson>(failed.stdout);
  expect([failed.status, state]).toEqual([1, "DELIVERY_STATE_DEAD"]);
  const dead = await as("operator", ["webhooks", "deliveries", "--dead", "--webhook", id, "--json"]);
  expect(jsonLines<DeliveryJson>(dead.stdout).map((delivery) => delivery.deliveryId)).toEqual([deliveryId]);
  // A test is not tried again.
  expect(await as("operator", ["webhooks", "retry", deliveryId])).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("is a test"),
  });
  expect(await as("admin", ["webhooks", "remove", id])).toMatchObject({ status: 0, stdout: "Removed.\n" });
  expect((await as("admin", ["webhooks", "list", "--json"])).stdout).toBe("");
});

test("an alarm of a share that was never scanned is sent, given up, and tried again by hand", { timeout: 120_000 }, async () => {
  expect((await as("operator", ["share", "create", "films"])).status).toBe(0);
  await withClient(database.superuserUrl, (client) =>
    client.query("UPDATE share SET created_utc = now() - interval '2 hours' WHERE share_name = 'films'"),
  );
  status = 503;
  const { webhook } = await add("--share", "films");
  const set = await as("operator", ["share", "stale-alarm", "1h", "--share", "films", "--json"]);
  expect(one(set.stdout)).toMatchObject({ shareName: "films", staleScanAlarmSeconds: "3600", stale: true });
  expect((await as("reader", ["share", "list"])).stdout).toMatch(/films .*3600 s \(stale\)/);
  const deadOnes = async () => jsonLines<DeliveryJson>((await as("operator", ["webhooks", "deliveries", "--dead", "--json"])).stdout);
  await expect.poll(async () => (await deadOnes()).length, { timeout: 30_000, interval: 100 }).toBe(1);
  const [{ deliveryId }] = (await deadOnes()) as [DeliveryJson];
  // Both attempts failed, and nothing else was taken.
  expect(await as("admin", ["webhooks", "list"])).toMatchObject({ status: 3, stdout: expect.stringContaining("Every attempt") });
  const early = await as("operator", ["webhooks", "retry", deliveryId]);
  expect(early).toMatchObject({ status: 1, stderr: expect.stringContaining("Enable it first") });
  status = 204;
  const sent = receiver.received.length;
  await as("admin", ["webhooks", "enable", webhook.webhookId]);
  expect((await as("operator", ["webhooks", "retry", deliveryId])).status).toBe(0);
  await receiver.until(({ length }) => length > sent);
  const told = receiver.received.at(-1) as Received;
  expect(told.id).toBe(`msg_${deliveryId}`);
  expect(told.message).toMatchObject({
    type: "scan.stale",
    data: { shareName: "films", staleScanAlarmSeconds: "3600", lastCompleteTime: null, lastCompleteScanId: "0" },
  });
  expect(one((await as("operator", ["share", "stale-alarm", "0s", "--share", "films", "--json"])).stdout)).toMatchObject({ stale: false });
  await as("admin", ["webhooks", "remove", webhook.webhookId]);
});

test("what is asked for wrongly, or by the wrong key, is refused with its status, and nothing on stdout", {
  timeout: 120_000,
}, async () => {
  const none = "00000000-0000-4000-8000-000000000000";
  const refused: [1 | 2, "admin" | "operator" | "reader", string[], RegExp][] = [
    [2, "admin", ["webhooks", "add", receiver.url], /--events/],
    [1, "admin", ["webhooks", "add", receiver.url, "--events", "scan.lost"], /"scan\.lost", which is none of/],
    [1, "admin", ["webhooks", "add", "https://10.0.0.1/", "--events", "scan.stale"], /private and reserved addresses/],
    [1, "admin", ["webhooks", "add", receiver.url, "--events", "scan.stale", "--share", "none"], /There is no share named "none"/],
    [1, "operator", ["webhooks", "add", receiver.url, "--events", "scan.stale"], /admin/],
    [2, "admin", ["webhooks", "change", none], /Nothing is to be changed/],
    [1, "admin", ["webhooks", "change", none, "--description", "x"], /There is no webhook/],
    [1, "admin", ["webhooks", "remove", "x"], /is not a UUID/],
    [2, "admin", ["webhooks", "rotate", none, "--overlap", "soon"], /soon/],
    [1, "operator", ["webhooks", "test", none], /There is no webhook/],
    [1, "operator", ["webhooks", "retry", none], /There is no delivery/],
    [1, "reader", ["webhooks", "deliveries"], /operator/],
    [2, "operator", ["webhooks", "deliveries", "--dead", "--pending"], /not both/],
    [2, "operator", ["webhooks", "deliveries", "--limit", "0"], /--limit/],
    [1, "operator", ["share", "stale-alarm", "59s", "--share", "films"], /from 60 to 315360000/],
    [2, "operator", ["share", "stale-alarm", "never", "--share", "films"], /error: .*duration such as/],
    [2, "operator", ["share", "stale-alarm", "1h"], /--share/],
    [1, "reader", ["share", "stale-alarm", "1h", "--share", "films"], /operator/],
    [1, "operator", ["secrets", "rotate"], /admin/],
    [1, "admin", ["secrets", "rewrap"], /platform/],
  ];
  const check = async ([exit, scope, args, words]: (typeof refused)[number]) =>
    expect(await as(scope, args), args.join(" ")).toMatchObject({ status: exit, stdout: "", stderr: expect.stringMatching(words) });
  while (refused.length > 0) await Promise.all(refused.splice(0, 4).map(check));
});

test("a data key and its master key are rotated; then the master key is lost, and all is as docs/secrets.md says", {
  timeout: 90_000,
}, async () => {
  const secrets = (args: string[], of: TestTenant = tenant) => as("admin", ["secrets", ...args], of);
  const before = await add();
  const status0 = await secrets(["--json"]);
  const { number } = one<{ number: number }>(status0.stdout);
  expect(status0.status).toBe(0);
  await fs.appendFile(surroundings.masterKeyFile, masterKeyLine("second"));
  expect(await secrets(["status"])).toMatchObject({ status: 3, stdout: expect.stringContaining("The newest is local:second") });
  const rewrapped = await secrets(["rewrap", "--json"], platform);
  expect(rewrapped.status, rewrapped.stderr).toBe(0);
  expect(one(rewrapped.stdout)).toMatchObject({ tenantsRewrapped: "1" });
  const rotated = await secrets(["rotate", "--json"]);
  expect(one(rotated.stdout)).toMatchObject({ dataKey: { number: number + 1, masterKey: "local:second" }, secretsResealed: "1" });
  expect((await secrets([])).status).toBe(0);

  await server.close();
  await fs.writeFile(surroundings.masterKeyFile, masterKeyLine("third"));
  server = await startTestServer({ database, tenant, env: surroundings.env });
  expect(await secrets([])).toMatchObject({ status: 3, stdout: expect.stringContaining("local:second") });
  const lost = await secrets(["rewrap", "--json"], platform);
  expect(lost.status).toBe(3);
  expect(one(lost.stdout)).toMatchObject({ tenantsFailed: [tenant.code] });
  const unopened = { status: 1, stdout: "", stderr: expect.stringContaining('has no key "second"') };
  expect(await as("operator", ["webhooks", "test", before.webhook.webhookId])).toMatchObject(unopened);

  const documented = /```sql\n([\s\S]*?)```/.exec(await fs.readFile(new URL("../docs/secrets.md", import.meta.url), "utf8"))?.[1] ?? "";
  const takeOut = () =>
    withClient(database.ownerUrl, async (client) => {
      const results = (await client.query(documented.replaceAll("<tenant id>", tenant.tenantId))) as unknown as pg.QueryResult[];
      return results.find(({ command }) => command === "UPDATE")?.rowCount;
    });
  expect(await takeOut()).toBe(0);
  expect((await as("admin", ["webhooks", "remove", before.webhook.webhookId])).status).toBe(0);
  expect(await as("admin", ["webhooks", "add", receiver.url, "--events", "scan.stale"])).toMatchObject(unopened);
  expect(await takeOut()).toBe(1);
  expect(one((await secrets(["--json"])).stdout)).toMatchObject({ number: 0, masterKey: "", newestMasterKey: "local:third" });

  const after = await add();
  expect((await as("operator", ["webhooks", "test", after.webhook.webhookId])).status).toBe(0);
  expect(isSignedWith(after.secret, receiver.received.at(-1) as Received)).toBe(true);
  expect(one((await secrets(["--json"])).stdout)).toMatchObject({ number: 1, masterKey: "local:third" });
  expect((await secrets(["rewrap"], platform)).status).toBe(0);
  expect(await violationsOf(database)).toEqual([]);
});
