/** `frostline retention` and `frostline erase`, run as a user runs them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { frostline, jsonLines } from "./support/command.js";
import { createTestDatabase, type TestDatabase } from "./support/postgres.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";

let database: TestDatabase;
let server: TestServer;
let platform: TestTenant;
beforeAll(async () => {
  database = await createTestDatabase();
  platform = await createTestTenant(database, { isPlatform: true });
  server = await startTestServer({ database, tenant: await createTestTenant(database) });
  expect((await run(["share", "create", "films"], "operator")).status).toBe(0);
});
afterAll(async () => {
  await server?.close();
  await database?.drop();
});

function run(args: string[], scope: "reader" | "operator" | "admin", tenant: TestTenant = server) {
  return frostline(args, { env: { FROSTLINE_SERVER: server.address, FROSTLINE_KEY: tenant.keys[scope] } });
}

test("policies and bounds are set by admins and shown to readers", async () => {
  expect((await run(["retention", "keep", "--scans", "3"], "operator")).status).toBe(1);
  expect((await run(["retention", "keep"], "admin")).status).toBe(2);
  expect((await run(["retention", "keep", "--scans", "30"], "admin")).status).toBe(0);
  expect((await run(["retention", "keep", "--share", "films", "--scans", "3", "--days", "9"], "admin")).status).toBe(0);
  const unknown = await run(["retention", "keep", "--share", "none", "--scans", "3"], "admin");
  expect(unknown).toMatchObject({ status: 1, stderr: expect.stringContaining('There is no share named "none"') });
  expect((await run(["retention", "bounds", "--missing", "60"], "admin")).status).toBe(0);
  const far = await run(["retention", "bounds", "--missing", "36501"], "admin");
  expect(far).toMatchObject({ status: 1, stderr: expect.stringContaining("must be from 1 to 36500") });
  const status = await run(["retention", "--json"], "reader");
  expect(jsonLines(status.stdout)).toMatchObject([
    {
      policies: [{ keepScans: 30 }, { shareName: "films", keepScans: 3, keepDays: 9 }],
      bounds: { auditLogDays: 400, ledgerDays: 7, problemDays: 90, warmingDays: 400, missingDays: 60 },
    },
  ]);
  expect((await run(["retention", "status"], "reader")).stdout).toMatch(/films +3 +9\n[\s\S]*missing files +60\n/);
  const left = await run(["retention", "keep", "--share", "films", "--all", "--json"], "admin");
  expect(jsonLines(left.stdout)).toEqual([{ shareName: "", keepScans: 30 }]);
});

test("a share and a person are erased by admins, a tenant by the platform's alone, and the record names none of them", async () => {
  expect((await run(["erase", "share", "films"], "operator")).status).toBe(1);
  expect((await run(["erase", "share", "none"], "admin")).status).toBe(1);
  const share = await run(["erase", "share", "films", "--json"], "admin");
  expect(share).toMatchObject({ status: 0, stderr: "" });
  expect(jsonLines(share.stdout)).toMatchObject([{ kind: "ERASURE_KIND_SHARE", finishTime: expect.any(String) }]);
  expect((await run(["share", "list", "--json"], "reader")).stdout).toBe("");
  expect((await run(["erase", "person", "ada lovelace"], "admin")).status).toBe(0);
  const list = await run(["erase", "list"], "admin");
  expect(list.stdout).toMatch(/person[\s\S]*share/);
  expect(list.stdout).not.toContain("ada");
  expect(list.stdout).not.toContain("films");

  const tenant = ["erase", "tenant", server.tenantId, "--code", server.code];
  expect((await run(tenant, "admin")).status).toBe(1);
  expect((await run(tenant, "admin", platform)).status).toBe(0);
  expect(await run(["share", "list"], "reader")).toMatchObject({ status: 1 });
  const tenants = await run(["tenant", "list", "--json"], "admin", platform);
  expect(jsonLines(tenants.stdout)).toMatchObject([{ code: platform.code }]);
});
