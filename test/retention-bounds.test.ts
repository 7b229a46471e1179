/** What is kept for a number of days: forgotten beyond it, kept within it, of the tenant alone; on the newest and the oldest PostgreSQL. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate } from "../src/db/migrate.js";
import { inTenant } from "../src/db/tenant.js";
import { createLogger } from "../src/log.js";
import { type Bounds, setBounds } from "../src/retention/bounds.js";
import { listJobs } from "../src/retention/jobs.js";
import { setPolicy } from "../src/retention/policies.js";
import { WarmingFeed } from "../src/warming/feed.js";
import { watchWarming } from "../src/warming/watch.js";
import type { RunningCluster } from "./support/cluster.js";
import { chunkOf, fileRecord, type IngestFixture, ingestFixture, listing } from "./support/ingest.js";
import { runMaintenance } from "./support/maintenance.js";
import { createEmptyDatabase, createTestDatabase, missingPostgres14, postgres14, type TestDatabase } from "./support/postgres.js";
import { createTestTenant } from "./support/tenant.js";

const signal = new AbortController().signal;

describe("on the run's PostgreSQL", () => boundTests(createTestDatabase));

describe.skipIf(missingPostgres14())("on PostgreSQL 14", () => {
  let running: RunningCluster;
  beforeAll(async () => {
    running = await postgres14();
  });
  afterAll(() => running.stop());
  boundTests(async () => {
    const empty = await createEmptyDatabase(running.cluster);
    await migrate(empty.ownerUrl);
    return empty;
  });
});

interface Tenant {
  tenantId: string;
  fixture: IngestFixture;
  shareId: bigint;
}

function boundTests(create: () => Promise<TestDatabase>): void {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await create();
  });
  afterAll(() => database?.drop());

  /** With a share that has the files `names` in each of the scans. */
  async function scannedTenant(...scans: string[][]): Promise<Tenant> {
    const { tenantId } = await createTestTenant(database);
    const fixture = await ingestFixture(database, tenantId);
    const shareId = await fixture.createShare("films");
    await fixture.look("UPDATE share SET brake_percent = 100 WHERE share_id = $1", [shareId]);
    for (const names of scans) await scan({ tenantId, fixture, shareId }, names);
    return { tenantId, fixture, shareId };
  }

  async function scan({ fixture }: Tenant, names: string[]): Promise<void> {
    const { scanId } = await fixture.start("films");
    const file = { sizeBytes: 1n, mtimeUnix: 1n, atimeUnix: 1n, ctimeUnix: 1n, frn: undefined };
    await fixture.push(scanId, [
      chunkOf(0, [
        listing(
          "/",
          names.map((name) => fileRecord(name, file)),
        ),
      ]),
      chunkOf(1, [listing("/locked", [], { complete: false, unreadableReason: "EACCES" })]),
    ]);
    await fixture.finish(scanId, { main: 2n });
  }

  const run = ({ fixture }: Tenant) => runMaintenance({ pool: fixture.context.pool, auditKeepDays: 7, signal });
  const bound = ({ fixture, tenantId }: Tenant, days: Partial<Bounds>) =>
    inTenant(fixture.context.pool, tenantId, (client) => setBounds(client, tenantId, days));
  const count = async ({ fixture, tenantId }: Tenant, table: string) => {
    const rows = await fixture.look<{ n: string }>(`SELECT count(*) AS n FROM ${table} WHERE tenant_id = $1`, [tenantId]);
    return Number(rows[0]?.n);
  };
  const jobs = async ({ fixture, tenantId }: Tenant) => {
    const all = await inTenant(fixture.context.pool, tenantId, (client) => listJobs(client, tenantId));
    return Object.fromEntries(all.map((job) => [job.job, { last: job.lastRemoved, total: job.totalRemoved }]));
  };

  test("ledger and problems of scans that ended long ago are forgotten, and the scans say so", async () => {
    const tenant = await scannedTenant(["a"], ["a"]);
    const { fixture, tenantId } = tenant;
    await fixture.look(
      "UPDATE scan SET finished_utc = now() - interval '91 days' WHERE scan_id = (SELECT min(scan_id) FROM scan WHERE tenant_id = $1)",
      [tenantId],
    );
    await run(tenant);
    expect([await count(tenant, "ingest_chunk"), await count(tenant, "scan_problem")]).toEqual([2, 1]);
    expect(await jobs(tenant)).toMatchObject({ ledger: { last: 2n, total: 2n }, problems: { last: 1n, total: 1n } });
    await bound(tenant, { problemDays: 100 });
    await run(tenant);
    expect(await jobs(tenant)).toMatchObject({ ledger: { last: 0n, total: 2n }, problems: { last: 0n, total: 1n } });
    expect(await fixture.violations()).toEqual([]);
    await fixture.close();
  });

  test("the audit log is forgotten by whole months, those of the bound's own month stay, and an empty month's partition goes", async () => {
    const [tenant, other] = [await scannedTenant(["a"]), await scannedTenant(["a"])];
    const { fixture } = tenant;
    const month = (ago: number) => `date_trunc('month', now(), 'UTC') - interval '${ago} months'`;
    const name = (
      await fixture.look<{ name: string }>(`SELECT 'audit_log_' || to_char((${month(5)}) AT TIME ZONE 'UTC', 'YYYYMM') AS name`)
    )[0]?.name;
    const [range] = await fixture.look<{ first: string; next: string }>(`SELECT (${month(5)})::text AS first, (${month(4)})::text AS next`);
    await fixture.look(
      `CREATE TABLE ${name} (LIKE audit_log INCLUDING DEFAULTS); ALTER TABLE ${name} OWNER TO frostline_owner; ALTER TABLE ${name} ENABLE ROW LEVEL SECURITY;
       ALTER TABLE ${name} FORCE ROW LEVEL SECURITY; ALTER TABLE audit_log ATTACH PARTITION ${name} FOR VALUES FROM ('${range?.first}') TO ('${range?.next}')`,
    );
    for (const { tenantId, shareId } of [tenant, other]) {
      for (const ago of [8, 5, 4, 0]) {
        await fixture.look(
          `INSERT INTO audit_log (tenant_id, recorded_utc, kind, share_id, file_current_id, source)
           SELECT $1, ${month(ago)} + interval '1 minute', 'access', $2, file_current_id, 'test' FROM file_current, generate_series(1, 500) WHERE tenant_id = $1`,
          [tenantId, shareId],
        );
      }
    }
    // From the middle of that month, which stays.
    const [days] = await fixture.look<{ days: number }>(`SELECT (now()::date - (${month(4)} + interval '14 days')::date) AS days`);
    await bound(tenant, { auditLogDays: days?.days as number });
    expect((await run(tenant)).partitionsDropped).toEqual([]);
    expect([await count(tenant, "audit_log"), await count(other, "audit_log")]).toEqual([1000, 2000]);
    expect(await jobs(tenant)).toMatchObject({ audit_log: { last: 1000n, total: 1000n } });
    await bound(other, { auditLogDays: days?.days as number });
    expect((await run(tenant)).partitionsDropped).toEqual([name]);
    expect([await count(tenant, "audit_log"), await count(other, "audit_log")]).toEqual([1000, 1000]);
    const direct = inTenant(fixture.context.pool, tenant.tenantId, (client) =>
      client.query("DELETE FROM audit_log WHERE tenant_id = $1", [tenant.tenantId]),
    );
    await expect(direct).rejects.toThrow();
    await fixture.close();
    await other.fixture.close();
  }, 60_000);

  test("old warming events are forgotten from the oldest on; a watcher that was behind is told, and positions are not used again", async () => {
    const tenant = await scannedTenant(["a"]);
    const { fixture, tenantId, shareId } = tenant;
    const { pool } = fixture.context;
    await fixture.look(
      `WITH object AS (INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, planned_by)
         SELECT tenant_id, share_id, file_current_id, 's3://x', 'REHYDRATED', 'who' FROM file_current WHERE tenant_id = $1 RETURNING tier_id)
       INSERT INTO warming_event (tenant_id, position, tier_id, share_id, event_utc, recorded_utc)
       SELECT $1, n, tier_id, $2, at, at FROM object, generate_series(1, 10) n, LATERAL (SELECT now() - make_interval(days => CASE WHEN n <= 6 THEN 401 ELSE 399 END) AS at) t`,
      [tenantId, shareId],
    );
    await fixture.look("INSERT INTO warming_position VALUES ($1, 10)", [tenantId]);
    await run(tenant);
    expect(await fixture.look("SELECT min(position)::integer AS first FROM warming_event WHERE tenant_id = $1", [tenantId])).toEqual([
      { first: 7 },
    ]);
    expect(await fixture.look("SELECT last_position::integer AS last FROM warming_position WHERE tenant_id = $1", [tenantId])).toEqual([
      { last: 10 },
    ]);
    const [key] = await fixture.look<{ key_id: string }>("SELECT key_id FROM api_key WHERE tenant_id = $1 LIMIT 1", [tenantId]);
    const feed = new WarmingFeed({ connection: { connectionString: database.runtimeUrl }, log: createLogger("silent") });
    const watch = (after: bigint) =>
      watchWarming(pool, feed, { tenantId, callerId: key?.key_id ?? randomUUID(), shareName: undefined, after }, signal);
    const [behind, all] = [watch(5n), watch(0n)];
    await behind.next();
    await expect(behind.next()).rejects.toMatchObject({
      code: "OUT_OF_RANGE",
      reason: "POSITIONS_PRUNED",
      metadata: { pruned_to_position: "6" },
    });
    expect((await all.next()).value).toEqual({ progress: { position: 6n } });
    expect((await all.next()).value).toMatchObject({ event: { position: 7n } });
    await all.return(undefined);
    await feed.close();
    expect(await fixture.violations()).toEqual([]);
    await fixture.close();
  }, 60_000);

  test("a missing file goes once its history is purged and nothing names it, and not before", async () => {
    const tenant = await scannedTenant(["kept", "gone", "tiered", "logged", "young"], ["kept"], ["kept"], ["kept"]);
    const { fixture, tenantId, shareId } = tenant;
    const left = async () =>
      (await fixture.look<{ name: string }>("SELECT name FROM file_current WHERE tenant_id = $1 ORDER BY 1", [tenantId])).map(
        ({ name }) => name,
      );
    await fixture.look("UPDATE file_current SET updated_utc = now() - interval '31 days' WHERE tenant_id = $1 AND name <> 'young'", [
      tenantId,
    ]);
    await fixture.look(
      `INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, planned_by)
       SELECT tenant_id, share_id, file_current_id, 's3://x', 'DELETED', 'who' FROM file_current WHERE tenant_id = $1 AND name = 'tiered'`,
      [tenantId],
    );
    await fixture.look(
      `INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, source)
       SELECT tenant_id, 'access', share_id, file_current_id, 'test' FROM file_current WHERE tenant_id = $1 AND name = 'logged'`,
      [tenantId],
    );
    await run(tenant);
    expect(await left(), "all history is kept").toEqual(["gone", "kept", "logged", "tiered", "young"]);
    await inTenant(fixture.context.pool, tenantId, (client) => setPolicy(client, tenantId, shareId, { keepScans: 4 }));
    await run(tenant);
    expect(await left(), "the first scan is kept").toContain("gone");
    await inTenant(fixture.context.pool, tenantId, (client) => setPolicy(client, tenantId, shareId, { keepScans: 2 }));
    await run(tenant);
    expect(await left()).toEqual(["kept", "logged", "tiered", "young"]);
    expect(await jobs(tenant)).toMatchObject({ missing_files: { last: 1n, total: 1n } });
    expect(await fixture.violations()).toEqual([]);
    await scan(tenant, ["kept", "gone"]);
    expect(await left()).toContain("gone");
    expect(await fixture.violations()).toEqual([]);
    await fixture.close();
  }, 60_000);
}
