/** Tenants, keys and shares over the wire. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, createClient } from "../src/agent/client.js";
import { ShareService, SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { KeyScope, TenantService } from "../src/gen/frostline/v1/tenant_pb.js";
import { ensureLocalKeys } from "../src/tenancy/local-keys.js";
import { bootstrap } from "../src/tenancy/tenants.js";
import { createTestDatabase, withClient } from "./support/postgres.js";
import { scratchDirectory } from "./support/scratch.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { createTestTenant } from "./support/tenant.js";

const { createShare, getShare, listShares } = ShareService.method;
const { createTenant, listTenants, createKey, listKeys, revokeKey } = TenantService.method;

let server: TestServer;
let admin: Client;
let platform: Client;

beforeAll(async () => {
  server = await startTestServer();
  admin = connect(server.keys.admin);
  platform = connect((await createTestTenant(server.database, { isPlatform: true })).keys.admin);
});
afterAll(async () => {
  admin?.close();
  platform?.close();
  await server?.close();
});

function connect(key: string): Client {
  return createClient({ server: server.address, key });
}

const badField = (field: string) => ({ code: "INVALID_ARGUMENT", reason: "INVALID_FIELD", metadata: { field } });

test("a new tenant comes with an admin key that works for it alone", async () => {
  const { tenant, adminKey } = await platform.unary(createTenant, { code: "acme", name: "Acme" });
  expect(adminKey).toMatch(/^fl_[\w-]{43}$/);
  expect((await platform.unary(listTenants, {})).tenants).toContainEqual(tenant);
  await expect(platform.unary(createTenant, { code: "acme", name: "Other" })).rejects.toMatchObject({
    code: "ALREADY_EXISTS",
    reason: "TENANT_EXISTS",
  });
  const acme = connect(adminKey);
  await admin.unary(createShare, { shareName: "mine", sourceType: SourceType.NTFS });
  await expect(acme.unary(getShare, { shareName: "mine" })).rejects.toMatchObject({ code: "NOT_FOUND", reason: "SHARE_NOT_FOUND" });
  expect((await acme.unary(listShares, {})).shares).toEqual([]);
  expect((await acme.unary(listKeys, {})).keys.map(({ name }) => name)).toEqual(["first admin"]);
  await expect(acme.unary(createTenant, { code: "sub", name: "Sub" })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  acme.close();
});

test.each([
  ["code", { code: "Acme", name: "x" }],
  ["code", { code: "", name: "x" }],
  ["code", { code: "a".repeat(64), name: "x" }],
  ["name", { code: "ok", name: "" }],
  ["name", { code: "ok", name: "a\u0007b" }],
])("a tenant with a bad %s is refused", async (field, request) => {
  await expect(platform.unary(createTenant, request)).rejects.toMatchObject(badField(field));
});

test("a key's secret is shown once and stored only as its hash", async () => {
  const { key, secret } = await admin.unary(createKey, { name: "ci", scopes: [KeyScope.READER, KeyScope.AGENT] });
  const { keys } = await admin.unary(listKeys, {});
  expect(keys).toContainEqual(key);
  const stored = await withClient(server.database.superuserUrl, (client) => client.query("SELECT k::text FROM api_key k"));
  expect(JSON.stringify(stored.rows)).not.toContain(secret);
  const { key: revoked } = await admin.unary(revokeKey, { keyId: key?.keyId ?? "" });
  expect((await admin.unary(revokeKey, { keyId: key?.keyId ?? "" })).key).toEqual(revoked);
  const reader = connect(secret);
  await expect(reader.unary(listShares, {})).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  reader.close();
});

test("a tenant's last admin key stays, also of two that revoke each other at once", async () => {
  const tenant = await createTestTenant(server.database);
  const only = connect(tenant.keys.admin);
  const keyOf = async (scope: KeyScope) => {
    const { keys } = await only.unary(listKeys, {});
    return keys.find((key) => key.scopes.includes(scope) && key.revokeTime === undefined)?.keyId ?? "";
  };
  const lastId = await keyOf(KeyScope.ADMIN);
  const last = { code: "FAILED_PRECONDITION", reason: "LAST_ADMIN_KEY", metadata: { key_id: lastId } };
  await expect(only.unary(revokeKey, { keyId: lastId })).rejects.toMatchObject(last);
  // Others are no admin's, or are not in force.
  await only.unary(revokeKey, { keyId: (await only.unary(createKey, { name: "r", scopes: [KeyScope.READER] })).key?.keyId ?? "" });
  const { key: expired } = await only.unary(createKey, { name: "old", scopes: [KeyScope.ADMIN] });
  await withClient(server.database.superuserUrl, (client) =>
    client.query("UPDATE api_key SET expires_utc = now() - interval '1 s' WHERE key_id = $1", [expired?.keyId]),
  );
  await expect(only.unary(revokeKey, { keyId: lastId })).rejects.toMatchObject(last);
  await only.unary(revokeKey, { keyId: expired?.keyId ?? "" });

  for (let round = 0; round < 5; round += 1) {
    const { keys } = await only.unary(listKeys, {});
    const mine = keys.find(({ scopes, revokeTime }) => scopes.includes(KeyScope.ADMIN) && revokeTime === undefined);
    const { key: second, secret } = await only.unary(createKey, { name: `second ${round}`, scopes: [KeyScope.ADMIN] });
    const other = connect(secret);
    const pair = await Promise.allSettled([
      only.unary(revokeKey, { keyId: second?.keyId ?? "" }),
      other.unary(revokeKey, { keyId: mine?.keyId ?? "" }),
    ]);
    other.close();
    const inForce = await withClient(server.database.superuserUrl, (client) =>
      client.query("SELECT FROM api_key WHERE tenant_id = $1 AND 'admin' = ANY (scopes) AND revoked_utc IS NULL", [tenant.tenantId]),
    );
    expect(inForce.rowCount).toBe(1);
    expect(pair.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    // For the next round the first key is back.
    await withClient(server.database.superuserUrl, async (client) => {
      await client.query("UPDATE api_key SET revoked_utc = CASE WHEN key_id = $2 THEN NULL ELSE now() END WHERE tenant_id = $1", [
        tenant.tenantId,
        lastId,
      ]);
    });
  }
  only.close();
});

test("keys of other tenants cannot be revoked", async () => {
  const other = await createTestTenant(server.database);
  const { rows } = await withClient(server.database.superuserUrl, (client) =>
    client.query("SELECT key_id FROM api_key WHERE tenant_id = $1 LIMIT 1", [other.tenantId]),
  );
  await expect(admin.unary(revokeKey, { keyId: rows[0].key_id })).rejects.toMatchObject({ code: "NOT_FOUND", reason: "KEY_NOT_FOUND" });
});

test.each([
  ["name", { name: "", scopes: [KeyScope.READER] }],
  ["scopes", { name: "x", scopes: [] }],
  ["scopes", { name: "x", scopes: [KeyScope.UNSPECIFIED] }],
  ["scopes", { name: "x", scopes: [99 as KeyScope] }],
  ["scopes", { name: "x", scopes: [KeyScope.READER, KeyScope.READER] }],
  ["expire_time", { name: "x", scopes: [KeyScope.READER], expireTime: timestampFromDate(new Date(0)) }],
])("a key with bad %s is refused", async (field, request) => {
  await expect(admin.unary(createKey, request)).rejects.toMatchObject(badField(field));
});

test("a key id that is none is refused", async () => {
  await expect(admin.unary(revokeKey, { keyId: "x" })).rejects.toMatchObject(badField("key_id"));
});

test("shares take defaults by their type, and are listed by name", async () => {
  const { share } = await admin.unary(createShare, {
    shareName: "Filme/Ä 🎬",
    sourceType: SourceType.LUCIDLINK,
    volumeId: "v-1",
    sourceRoot: "/mnt",
  });
  expect(share).toMatchObject({ caseSensitive: true, brakePercent: 50, volumeId: "v-1", sourceRoot: "/mnt" });
  const { share: smb } = await admin.unary(createShare, {
    shareName: "A",
    sourceType: SourceType.SMB,
    brakePercent: 7,
    caseSensitive: true,
  });
  expect(smb).toMatchObject({ caseSensitive: true, brakePercent: 7, volumeId: "" });
  expect((await admin.unary(getShare, { shareName: "A" })).share).toEqual(smb);
  const names = (await admin.unary(listShares, {})).shares.map(({ shareName }) => shareName);
  expect(names).toEqual([...names].sort());
  expect(names).toEqual(expect.arrayContaining(["A", "Filme/Ä 🎬"]));
});

test("a share's name and volume are its own", async () => {
  const share = { shareName: "once", sourceType: SourceType.NTFS, volumeId: "v-2" };
  await admin.unary(createShare, share);
  await expect(admin.unary(createShare, { ...share, volumeId: "" })).rejects.toMatchObject({
    code: "ALREADY_EXISTS",
    reason: "SHARE_EXISTS",
  });
  await expect(admin.unary(createShare, { ...share, shareName: "twice" })).rejects.toMatchObject({
    code: "ALREADY_EXISTS",
    reason: "VOLUME_EXISTS",
  });
});

test.each([
  ["share_name", { shareName: "", sourceType: SourceType.NTFS }],
  ["share_name", { shareName: "🎬".repeat(201), sourceType: SourceType.NTFS }],
  ["share_name", { shareName: "a\nb", sourceType: SourceType.NTFS }],
  ["source_type", { shareName: "x" }],
  ["brake_percent", { shareName: "x", sourceType: SourceType.NTFS, brakePercent: 0 }],
  ["brake_percent", { shareName: "x", sourceType: SourceType.NTFS, brakePercent: 101 }],
  ["source_root", { shareName: "x", sourceType: SourceType.NTFS, sourceRoot: "\0" }],
])("a share with a bad %s is refused", async (field, request) => {
  await expect(admin.unary(createShare, request)).rejects.toMatchObject(badField(field));
});

test("a new installation is bootstrapped once; local keys are kept while they work", async () => {
  const database = await createTestDatabase();
  const scratch = await scratchDirectory();
  const pool = new pg.Pool({ connectionString: database.runtimeUrl });
  try {
    const { tenant } = await bootstrap(pool);
    expect(tenant).toMatchObject({ code: "platform", is_platform: true });
    await expect(bootstrap(pool)).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "ALREADY_BOOTSTRAPPED" });
    const file = path.join(scratch.path, "keys.json");
    const { keys } = await ensureLocalKeys(pool, scratch.path, "127.0.0.1:1");
    expect(JSON.parse(await fs.readFile(file, "utf8"))).toEqual(keys);
    expect((await fs.stat(file)).mode & 0o777).toBe(0o600);
    expect((await ensureLocalKeys(pool, scratch.path, "127.0.0.1:2")).keys).toEqual({ ...keys, server: "127.0.0.1:2" });
    await withClient(database.superuserUrl, (client) => client.query("UPDATE api_key SET revoked_utc = now() WHERE scopes = '{reader}'"));
    const { keys: renewed } = await ensureLocalKeys(pool, scratch.path, "127.0.0.1:2");
    expect(renewed).toMatchObject({ admin: keys.admin, agent: keys.agent, operator: keys.operator });
    expect(renewed.reader).not.toBe(keys.reader);
  } finally {
    await pool.end();
    await scratch.remove();
    await database.drop();
  }
});
