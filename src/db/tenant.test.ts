import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/support/postgres.js";
import { createTestTenant } from "../../test/support/tenant.js";
import { inTenant, readTenant } from "./tenant.js";

let database: TestDatabase;
/** Of one connection, so that each transaction meets what the one before has left. */
let pool: pg.Pool;
let tenantId: string;
beforeAll(async () => {
  database = await createTestDatabase();
  pool = new pg.Pool({ connectionString: database.runtimeUrl, max: 1 });
  ({ tenantId } = await createTestTenant(database));
});
afterAll(async () => {
  await pool?.end();
  await database?.drop();
});

const insertShare = "INSERT INTO share (tenant_id, share_name, src_type, case_sensitive) VALUES ($1, $2, 'NTFS', false)";

async function shareNames(): Promise<string[]> {
  return readTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ share_name: string }>("SELECT share_name FROM share WHERE tenant_id = $1", [tenantId]);
    return rows.map(({ share_name }) => share_name);
  });
}

test("a connection acts for nobody once its transaction is over, however that ended", async () => {
  const failing = (statement: string) =>
    inTenant(pool, tenantId, async (client) => {
      await client.query(statement);
      throw new Error("enough");
    });
  const ways: [string, () => Promise<unknown>][] = [
    ["committed", () => inTenant(pool, tenantId, (client) => client.query("SELECT"))],
    ["read", () => readTenant(pool, tenantId, (client) => client.query("SELECT"))],
    ["failed", () => expect(failing("SELECT")).rejects.toThrow("enough")],
    ["failed in the database", () => expect(failing("SELECT 1 / 0")).rejects.toThrow("division by zero")],
  ];
  for (const [name, end] of ways) {
    await end();
    const { rows } = await pool.query("SELECT current_tenant() AS tenant");
    expect(rows, name).toEqual([{ tenant: null }]);
  }
  expect(pool.totalCount).toBe(1);
});

test("what was written before an error is undone", async () => {
  const broken = inTenant(pool, tenantId, async (client) => {
    await client.query(insertShare, [tenantId, "half"]);
    throw new Error("enough");
  });
  await expect(broken).rejects.toThrow("enough");
  expect(await shareNames()).toEqual([]);
  await inTenant(pool, tenantId, (client) => client.query(insertShare, [tenantId, "whole"]));
  expect(await shareNames()).toEqual(["whole"]);
});
