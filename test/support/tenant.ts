/** Tenants and keys, written straight into a database. */
import { createHash, randomBytes, randomUUID } from "node:crypto";
import type pg from "pg";
import { type TestDatabase, withClient } from "./postgres.js";
import { rememberSecret } from "./secrets.js";

export const scopes = ["agent", "operator", "reader", "admin"] as const;
export type Scope = (typeof scopes)[number];

export interface TestTenant {
  tenantId: string;
  code: string;
  /** A secret for each scope, that scope alone. */
  keys: Record<Scope, string>;
}

/** A fresh tenant with a key for each scope. */
export async function createTestTenant(database: TestDatabase, options: { isPlatform?: boolean } = {}): Promise<TestTenant> {
  const tenantId = randomUUID();
  const code = `t-${randomBytes(4).toString("hex")}`;
  const keys: Record<Scope, string> = { agent: newSecret(), operator: newSecret(), reader: newSecret(), admin: newSecret() };
  await withClient(database.ownerUrl, async (client) => {
    await client.query(`BEGIN; SET LOCAL app.tenant_id = '${tenantId}'`);
    await client.query("INSERT INTO tenant (tenant_id, code, name, is_platform) VALUES ($1, $2, $2, $3)", [
      tenantId,
      code,
      options.isPlatform ?? false,
    ]);
    for (const scope of scopes) await insertKey(client, tenantId, scope, keys[scope]);
    await client.query("COMMIT");
  });
  return { tenantId, code, keys };
}

async function insertKey(client: pg.Client, tenantId: string, scope: Scope, secret: string): Promise<void> {
  const hash = createHash("sha256").update(secret).digest();
  await client.query("INSERT INTO api_key (tenant_id, key_id, name, scopes, secret_sha256) VALUES ($1, $2, $3, $4, $5)", [
    tenantId,
    randomUUID(),
    `test ${scope}`,
    [scope],
    hash,
  ]);
}

function newSecret(): string {
  const secret = `fl_${randomBytes(32).toString("base64url")}`;
  rememberSecret("a test tenant's key", secret);
  return secret;
}
