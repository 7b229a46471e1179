/** Data keys and master keys: what is stored, who can open it, and how both are rotated while servers run. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { Pool } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { createPools } from "../src/db/pool.js";
import { inTenant } from "../src/db/tenant.js";
import { DataKeyService } from "../src/gen/frostline/v1/data_key_pb.js";
import { WebhookService } from "../src/gen/frostline/v1/webhook_pb.js";
import { decrypt, encrypt } from "../src/secrets/aead.js";
import { DataKeys, type SecretPlace } from "../src/secrets/data-keys.js";
import { ensureMasterKeys, LocalKms } from "../src/secrets/local-kms.js";
import { rewrapDataKeys, rotateDataKey } from "../src/secrets/rotate.js";
import { lockTenantKeys } from "../src/secrets/tenant-key.js";
import { webhookSecrets } from "../src/webhooks/sealed-secrets.js";
import { violationsOf } from "./support/audited-share.js";
import { createTestDatabase, type TestDatabase, withClient } from "./support/postgres.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";
import { isSignedWith, type Received, type Receiver, startReceiver } from "./support/webhook-receiver.js";
import { makeWebhook, masterKeyLine, type WebhookSurroundings, webhookClients, webhookSurroundings } from "./support/webhook-server.js";

let scratch: Scratch;
let database: TestDatabase;
let pool: Pool;
let endPools: () => Promise<void>;
let receiver: Receiver;
let surroundings: WebhookSurroundings;

beforeAll(async () => {
  scratch = await scratchDirectory();
  database = await createTestDatabase();
  const pools = createPools(database.runtimeUrl, { queryPoolMax: 8, ingestPoolMax: 1, onIdleError: () => {} });
  pool = pools.query;
  endPools = pools.end;
  receiver = await startReceiver();
  surroundings = await webhookSurroundings([receiver]);
});
afterAll(async () => {
  await endPools?.();
  await receiver?.close();
  await surroundings?.remove();
  await database?.drop();
  await scratch?.remove();
});

async function keyFile(text: string, mode = 0o600): Promise<string> {
  const file = path.join(scratch.path, `${Math.random()}.key`);
  await fs.writeFile(file, text);
  await fs.chmod(file, mode);
  return file;
}

/** As a superuser. */
async function look<Row extends Record<string, unknown>>(text: string, values: unknown[] = []): Promise<Row[]> {
  return withClient(database.superuserUrl, async (client) => (await client.query<Row>(text, values)).rows);
}

const keyRow = async ({ tenantId }: TestTenant) =>
  (await look("SELECT dek_no, kms_ref, encrypted_dek, previous_encrypted_dek FROM tenant WHERE tenant_id = $1", [tenantId]))[0];

test("what is encrypted opens with its key and its context, and with nothing else, not a bit changed", () => {
  const [key, other] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const text = encrypt(key, Buffer.from("secret"), "mine");
  expect(decrypt(key, text, "mine")?.toString()).toBe("secret");
  expect(encrypt(key, Buffer.from("secret"), "mine")).not.toBe(text);
  expect([decrypt(other, text, "mine"), decrypt(key, text, "theirs"), decrypt(key, "", "mine"), decrypt(key, `${text}A`, "mine")]).toEqual(
    Array(4).fill(undefined),
  );
  const bytes = Buffer.from(text, "base64url");
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Buffer.from(bytes);
    changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
    expect(decrypt(key, changed.toString("base64url"), "mine"), `bit ${bit}`).toBeUndefined();
  }
});

test("the file of master keys: the last one wraps, all unwrap, and what is wrong with it is said without a key", async () => {
  const [first, second] = [masterKeyLine("a"), masterKeyLine("b")];
  const file = await keyFile(`# ours\n\n${first}`);
  const kms = new LocalKms(file);
  const wrapped = await kms.wrap(Buffer.alloc(32, 7), "tenant");
  expect(wrapped.ref).toBe("local:a");
  // Read again, without being told.
  await fs.appendFile(file, second);
  expect(await kms.newestRef()).toBe("local:b");
  expect(await kms.unwrap(wrapped, "tenant")).toEqual(Buffer.alloc(32, 7));
  await expect(kms.unwrap(wrapped, "another tenant")).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "MASTER_KEY_UNUSABLE" });
  await expect(kms.unwrap({ ...wrapped, ref: "local:b" }, "tenant")).rejects.toMatchObject({ reason: "MASTER_KEY_UNUSABLE" });
  await expect(kms.unwrap({ ...wrapped, ref: "local:c" }, "tenant")).rejects.toThrow(/has no key "c"/);

  const secret = first.split(" ")[1] as string;
  const bad = [
    [await keyFile(first, 0o644), /may be read or written by others \(mode 644\)/],
    [await keyFile(first, 0o660), /mode 660/],
    [await keyFile(first + first), /the id "a" twice, the second time in line 2/],
    [await keyFile(`${first}b c2hvcnQ=\n`), /in line 2/],
    [await keyFile(`a ${secret.trim()} more`), /in line 1/],
    [await keyFile(`a ${secret.slice(0, 40)}`), /in line 1/],
    [await keyFile("# none\n"), /has no key/],
    [path.join(scratch.path, "none"), /cannot be read \(ENOENT\)/],
    [scratch.path, /is not a file/],
  ] as const;
  for (const [name, words] of bad) {
    const error = await new LocalKms(name).newestRef().then(
      () => new Error("taken"),
      (failure: Error) => failure,
    );
    expect(error.message).toMatch(words);
    expect(error.message).not.toContain(secret.slice(0, 8));
  }
  expect(await new LocalKms(await keyFile(first, 0o640)).newestRef()).toBe("local:a");

  const made = path.join(scratch.path, "made.key");
  await Promise.all([ensureMasterKeys(made), ensureMasterKeys(made)]);
  const once = await fs.readFile(made, "utf8");
  await ensureMasterKeys(made);
  expect(await fs.readFile(made, "utf8")).toBe(once);
  expect((await fs.stat(made)).mode & 0o777).toBe(0o600);
  expect(await new LocalKms(made).newestRef()).toMatch(/^local:\d{4}-\d\d-\d\d$/);
});

test("first secrets made at once share a data key; a sealed one opens in its place only", async () => {
  const [mine, theirs] = [await createTestTenant(database), await createTestTenant(database)];
  const kms = new LocalKms(await keyFile(masterKeyLine("a")));
  const servers = [new DataKeys(kms), new DataKeys(kms)] as const;
  const place = ({ tenantId }: TestTenant, rowId = "1", purpose = "test.secret") => ({ tenantId, purpose, rowId });
  const seal = (keys: DataKeys, tenant: TestTenant) =>
    inTenant(pool, tenant.tenantId, (client) => keys.seal(client, place(tenant), "whsec_x"));
  const sealed = await Promise.all([0, 1, 0, 1, 0, 1].map((no) => seal(servers[no as 0 | 1], mine)));
  expect(await keyRow(mine)).toMatchObject({
    dek_no: 1,
    kms_ref: "local:a",
    encrypted_dek: expect.stringMatching(/^w1\./),
    previous_encrypted_dek: null,
  });
  await seal(servers[0], theirs);
  const open = (of: TestTenant, text: string, where = place(of)) =>
    inTenant(pool, of.tenantId, async (client) => {
      await lockTenantKeys(client, of.tenantId, "shared");
      return servers[1].open(client, where, text);
    });
  for (const text of sealed) {
    expect(text).toMatch(/^s1\.1\.[\w-]+$/);
    expect(await open(mine, text)).toBe("whsec_x");
  }
  const [text] = sealed as [string];
  const wrong: [TestTenant, string, SecretPlace][] = [
    [theirs, text, place(theirs)],
    [mine, text, place(mine, "2")],
    [mine, text, place(mine, "1", "other.secret")],
    [mine, text.replace("s1.1.", "s1.2."), place(mine)],
    [mine, text.replace("s1.", "s2."), place(mine)],
  ];
  for (const one of wrong) await expect(open(...one)).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "SECRET_UNREADABLE" });
  // The row of a tenant whose data key was put in another's place opens nothing.
  await look("UPDATE tenant SET encrypted_dek = (SELECT encrypted_dek FROM tenant WHERE tenant_id = $1) WHERE tenant_id = $2", [
    mine.tenantId,
    theirs.tenantId,
  ]);
  await expect(open(theirs, text)).rejects.toMatchObject({ reason: "MASTER_KEY_UNUSABLE" });
});

test("a server without a master key refuses what needs one, and says what to do", async () => {
  const server = await startTestServer({ database, tenant: await createTestTenant(database) });
  const clients = webhookClients(server);
  try {
    const refused = { code: "FAILED_PRECONDITION", message: expect.stringContaining("FROSTLINE_MASTER_KEY_FILE") };
    await expect(makeWebhook(clients.admin, { url: "https://example.com/", eventTypes: ["scan.stale"] })).rejects.toMatchObject(refused);
    await expect(clients.admin.unary(DataKeyService.method.rotateDataKey, {})).rejects.toMatchObject(refused);
    expect((await clients.admin.unary(WebhookService.method.listWebhooks, {})).webhooks).toEqual([]);
  } finally {
    clients.close();
    await server.close();
  }
  const file = await keyFile(masterKeyLine("a"), 0o644);
  await expect(startTestServer({ database, tenant: server, env: { FROSTLINE_MASTER_KEY_FILE: file } })).rejects.toThrow(/mode 644/);
});

test("both keys are rotated under load on two servers: each message is signed with its webhook's secret, and the old keys are gone", {
  timeout: 60_000,
}, async () => {
  const platform = await createTestTenant(database, { isPlatform: true });
  const tenant = await createTestTenant(database);
  const start = () => startTestServer({ database, tenant, env: surroundings.env });
  const servers: [TestServer, TestServer] = [await start(), await start()];
  const clients = [webhookClients(servers[0]), webhookClients(servers[1])] as const;
  const platformClient = createClient({ server: servers[1].address, key: platform.keys.admin });
  try {
    const secrets = new Map<string, string>();
    for (let no = 0; no < 8; no++) {
      const { webhookId, secret } = await makeWebhook(clients[0].admin, {
        url: receiver.url.replace("/hook", `/${no}`),
        eventTypes: ["scan.stale"],
      });
      secrets.set(webhookId, secret);
    }
    const before = (await keyRow(tenant)) as { encrypted_dek: string };
    let stop = false;
    let sent = 0;
    const load = [0, 1].map(async (which) => {
      while (!stop) {
        for (const webhookId of secrets.keys()) {
          const { delivery } = await clients[which as 0 | 1].operator.unary(WebhookService.method.sendTestEvent, { webhookId });
          expect(delivery?.lastError).toBe("");
          sent += 1;
        }
      }
    });
    // A second master key on both servers, which share the file here.
    await fs.appendFile(surroundings.masterKeyFile, masterKeyLine("second"));
    const status = await clients[1].admin.unary(DataKeyService.method.getDataKey, {});
    expect(status.dataKey).toMatchObject({ number: 1, masterKey: "local:first", newestMasterKey: "local:second", rotating: false });
    const rewrapped = await platformClient.unary(DataKeyService.method.rewrapDataKeys, {});
    // The tenant of the test before has a key of a file that is not this one's.
    expect(rewrapped.tenantsRewrapped).toBe(1n);
    expect(rewrapped.tenantsFailed.length).toBe(2);
    expect(await keyRow(tenant)).toMatchObject({ dek_no: 1, kms_ref: "local:second" });
    await fs.writeFile(surroundings.masterKeyFile, (await fs.readFile(surroundings.masterKeyFile, "utf8")).split("\n").slice(1).join("\n"));
    for (const round of [2, 3]) {
      const rotated = await clients[(round % 2) as 0 | 1].admin.unary(DataKeyService.method.rotateDataKey, {});
      expect(rotated).toMatchObject({ secretsResealed: 8n, dataKey: { number: round, masterKey: "local:second", rotating: false } });
    }
    const sentByThen = sent;
    while (sent < sentByThen + 16) await new Promise((resolve) => setTimeout(resolve, 10));
    stop = true;
    await Promise.all(load);
    const byPath = [...secrets.values()];
    for (const message of receiver.received as Received[])
      expect(isSignedWith(byPath[Number(message.path.slice(1))] as string, message)).toBe(true);
    expect(receiver.received.length).toBe(sent);
    const after = await keyRow(tenant);
    expect(after).toMatchObject({ dek_no: 3, previous_encrypted_dek: null });
    expect(after?.encrypted_dek).not.toBe(before.encrypted_dek);
    const sealedWith = await look("SELECT DISTINCT split_part(secret, '.', 2) AS no FROM webhook WHERE tenant_id = $1", [tenant.tenantId]);
    expect(sealedWith).toEqual([{ no: "3" }]);
  } finally {
    platformClient.close();
    for (const { close } of clients) close();
    for (const server of servers) await server.close();
  }
});

test("a rotation that breaks off goes on where it was, with no third key", async () => {
  const tenant = await createTestTenant(database);
  const keys = new DataKeys(new LocalKms(await keyFile(masterKeyLine("a"))));
  for (let no = 0; no < 3; no++) {
    await inTenant(pool, tenant.tenantId, async (client) => {
      const { rows } = await client.query<{ id: string }>("SELECT gen_random_uuid() AS id");
      const id = rows[0]?.id as string;
      const secret = await keys.seal(client, { tenantId: tenant.tenantId, purpose: "webhook.secret", rowId: id }, `whsec_${no}`);
      await client.query(
        `INSERT INTO webhook (tenant_id, webhook_id, url, description, event_types, include_paths, include_people, secret, warming_position, created_by)
         VALUES ($1, $2, 'https://x', '', '{scan.stale}', false, false, $3, 0, 'test')`,
        [tenant.tenantId, id, secret],
      );
    });
  }
  const breaksOff = { resealOlder: () => Promise.reject(new Error("broke off")) };
  await expect(rotateDataKey(pool, keys, [breaksOff], tenant.tenantId)).rejects.toThrow("broke off");
  expect(await keyRow(tenant)).toMatchObject({ dek_no: 2, previous_encrypted_dek: expect.any(String) });
  expect(await violationsOf(database)).toEqual([]);
  expect(await rotateDataKey(pool, keys, [webhookSecrets], tenant.tenantId)).toBe(3);
  expect(await keyRow(tenant)).toMatchObject({ dek_no: 2, previous_encrypted_dek: null });
  expect(await violationsOf(database)).toEqual([]);
});

test("a tenant that is erased while other tenants' keys are wrapped anew is passed over", async () => {
  const { tenantId, code } = await createTestTenant(database);
  class ErasingKms extends LocalKms {
    #calls = 0;
    override async newestRef(): Promise<string> {
      // The first is before tenants are listed.
      if (++this.#calls === 2) {
        await look("DELETE FROM api_key WHERE tenant_id = $1", [tenantId]);
        await look("DELETE FROM tenant WHERE tenant_id = $1", [tenantId]);
      }
      return super.newestRef();
    }
  }
  const keys = new DataKeys(new ErasingKms(await keyFile(masterKeyLine("z"))));
  const { rewrapped, newest, left, failed } = await rewrapDataKeys(pool, keys, new AbortController().signal);
  const others = await look("SELECT 1 FROM tenant");
  expect(failed).not.toContain(code);
  expect(rewrapped + newest + left + failed.length).toBe(others.length);
});
