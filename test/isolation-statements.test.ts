/**
 * Row-level security hides a statement that forgets whose rows it means, so here there is none. Two databases that differ in one thing: in the first the
 * tenant has a twin, whose rows have the same ids and names as its own, and no policy stands between them. The tenant, as its admin, makes each call on
 * both. The answers must be the same, and the twin's rows as they were.
 */
import { randomUUID } from "node:crypto";
import type { DescMethod } from "@bufbuild/protobuf";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { furnishTenant } from "./support/furnished-tenant.js";
import { copyTestDatabase, createTestDatabase, withClient } from "./support/postgres.js";
import { rpcCases } from "./support/rpc-cases.js";
import { createTestTenant } from "./support/tenant.js";
import { tenantChecksums, tenantTables } from "./support/tenant-checksums.js";
import { type WebhookSurroundings, webhookSurroundings } from "./support/webhook-server.js";
import {
  alignSequences,
  type Caller,
  expectedCode,
  expectSame,
  goodRequests,
  methods,
  nameOf,
  openWorld,
  type World,
} from "./support/worlds.js";

/** Of these no two tenants can have the same. */
const ofOneAlone = ["tenant", "api_key"];

let masterKey: WebhookSurroundings;
let mine: Caller;
/** With the twin, and without. */
let both: World;
let alone: World;
let before: Record<string, string>;
const twinId = randomUUID();

beforeAll(async () => {
  masterKey = await webhookSurroundings([]);
  const database = await createTestDatabase();
  const tenant = await createTestTenant(database);
  const world = await openWorld(database, tenant, masterKey);
  mine = { of: await furnishTenant(world.server, tenant, "mine", 2).finally(world.close), foreign: [twinId] };
  await withClient(database.superuserUrl, (client) => fillTheRest(client, tenant.tenantId));
  const copy = await copyTestDatabase(database);
  await withClient(copy.superuserUrl, async (client) => {
    await addTwin(client, tenant.tenantId);
    await dropSecurity(client);
  });
  await alignSequences(database, copy);
  [both, alone] = [await openWorld(copy, tenant, masterKey), await openWorld(database, tenant, masterKey)];
  before = await tenantChecksums(both.superuser, twinId);
});
afterAll(async () => {
  for (const world of [both, alone]) {
    await world?.close();
    await world?.server.database.drop();
  }
  await masterKey?.remove();
});

/** Tables that take accesses of unknown files, and background jobs, to have rows. */
async function fillTheRest(client: pg.Client, tenantId: string): Promise<void> {
  await client.query(
    `INSERT INTO audit_waiting (tenant_id, share_id, dir_digest, name, path, event_micros, event_id)
     SELECT tenant_id, share_id, tenant_id, 'f', '/f', 1, 'e' FROM share WHERE tenant_id = $1 AND share_name = 'mine'`,
    [tenantId],
  );
  await client.query("INSERT INTO retention_job VALUES ($1, 'history', now(), 0, 0)", [tenantId]);
}

/** The twin's keys are the tenant's own; its sizes, times and words are others, so that an answer with one of them shows. */
async function addTwin(client: pg.Client, tenantId: string): Promise<void> {
  // No trigger, and no order of the tables.
  await client.query("SET session_replication_role = replica");
  await client.query("INSERT INTO tenant (tenant_id, code, name, is_platform) VALUES ($1, 'twin', 'twin', false)", [twinId]);
  for (const table of await tenantTables(client)) {
    if (ofOneAlone.includes(table)) continue;
    const { rows } = await client.query<{ columns: string; values: string }>(
      `SELECT string_agg(quote_ident(attname), ', ') AS columns, string_agg(CASE
         WHEN attname ~ '(_bytes|_unix)$' THEN quote_ident(attname) || ' + 1'
         WHEN attname ~ '^(reason|state_reason|description|actor|host|[a-z]+_by)$' THEN format('%L || %I', 'twin of ', attname)
         ELSE quote_ident(attname) END, ', ') AS values
       FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attname <> 'tenant_id'`,
      [table],
    );
    const { columns, values } = rows[0] as { columns: string; values: string };
    await client.query(
      `INSERT INTO ${table} (tenant_id, ${columns}) OVERRIDING SYSTEM VALUE SELECT $2, ${values} FROM ${table} WHERE tenant_id = $1`,
      [tenantId, twinId],
    );
  }
}

async function dropSecurity(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    "SELECT quote_ident(relname) AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relrowsecurity",
  );
  for (const { name } of rows) await client.query(`ALTER TABLE ${name} DISABLE ROW LEVEL SECURITY`);
}

test("the twin has rows in every table", () => {
  const tables = Object.keys(before).filter((table) => !ofOneAlone.includes(table) && !table.startsWith("staging_"));
  expect(tables.length).toBeGreaterThan(20);
  expect(tables.filter((table) => before[table]?.startsWith("0 "))).toEqual([]);
});

describe("without row-level security, a tenant's statements mean its own rows alone", () => {
  test.each(Object.keys(rpcCases))("%s", async (name) => {
    const method = methods.find((of) => nameOf(of) === name) as DescMethod;
    for (const [n, good] of (await goodRequests(both, method, mine)).entries()) {
      const { code, error } = await expectSame([both, alone], method, good, mine);
      expect(code, `${JSON.stringify(good)}: ${error}`).toBe(expectedCode(method, n));
    }
    expect(await tenantChecksums(both.superuser, twinId)).toEqual(before);
  });
});
