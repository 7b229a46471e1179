/** A share, a person's name and a tenant are erased: nothing of them is left in any table, and nothing else is touched. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate } from "../src/db/migrate.js";
import { inTenant } from "../src/db/tenant.js";
import { eraseNow, listErasures } from "../src/retention/erasures.js";
import { requestPersonErasure, requestShareErasure, requestTenantErasure } from "../src/retention/request-erasure.js";
import { tokenCallerId } from "../src/tenancy/actor.js";
import type { RunningCluster } from "./support/cluster.js";
import { type IngestFixture, ingestFixture } from "./support/ingest.js";
import { runMaintenance } from "./support/maintenance.js";
import { createEmptyDatabase, createTestDatabase, missingPostgres14, postgres14, type TestDatabase } from "./support/postgres.js";
import { seededRandom } from "./support/random.js";
import { RetainedShare } from "./support/retained-share.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";

const signal = new AbortController().signal;
const callerId = randomUUID();

describe("on the run's PostgreSQL", () => eraseTests(createTestDatabase));

describe.skipIf(missingPostgres14())("on PostgreSQL 14", () => {
  let running: RunningCluster;
  beforeAll(async () => {
    running = await postgres14();
  });
  afterAll(() => running.stop());
  eraseTests(async () => {
    const empty = await createEmptyDatabase(running.cluster);
    await migrate(empty.ownerUrl);
    return empty;
  });
});

function eraseTests(create: () => Promise<TestDatabase>): void {
  let database: TestDatabase;
  let platform: TestTenant;

  beforeAll(async () => {
    database = await create();
    platform = await createTestTenant(database, { isPlatform: true });
  });
  afterAll(() => database?.drop());

  /** A tenant with two scanned shares, tiered files, warming events and logs of two people. */
  async function filledTenant(): Promise<{ tenantId: string; fixture: IngestFixture; shareIds: bigint[] }> {
    const { tenantId } = await createTestTenant(database);
    const fixture = await ingestFixture(database, tenantId);
    const shareIds: bigint[] = [];
    for (const name of ["first", "second"]) {
      const shareId = await fixture.createShare(name);
      shareIds.push(shareId);
      const share = new RetainedShare(fixture, name, seededRandom(), 60);
      for (let n = 0; n < 3; n++) await share.scan();
      await fixture.look(fillShare, [tenantId, shareId]);
      await fixture.look(
        "INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, source, actor, recorded_utc) SELECT tenant_id, 'access', share_id, file_current_id, 'test', CASE file_current_id % 2 WHEN 0 THEN 'ada' ELSE 'ben' END, now() - make_interval(days => (file_current_id % 70)::integer) FROM file_current WHERE tenant_id = $1 AND share_id = $2",
        [tenantId, shareId],
      );
      await fixture.look(
        `WITH made AS (
           INSERT INTO webhook (tenant_id, url, description, event_types, share_id, include_paths, include_people, secret, warming_position, created_by)
           VALUES ($1, 'https://hooks.example.com/', '', '{scan.stale}', $2, false, false, 's1.1.none', 0, 'who') RETURNING webhook_id
         )
         INSERT INTO webhook_delivery (tenant_id, webhook_id, event_type, share_id, facts, state, finished_utc)
         SELECT $1, webhook_id, 'scan.stale', $2, '{}', 'DEAD', now() FROM made`,
        [tenantId, shareId],
      );
    }
    await fixture.look("UPDATE tenant SET kms_ref = 'test', dek_no = 1, encrypted_dek = 'wrapped' WHERE tenant_id = $1", [tenantId]);
    await fixture.look(
      "INSERT INTO warming_position (tenant_id, last_position) SELECT $1, max(position) FROM warming_storm WHERE tenant_id = $1",
      [tenantId],
    );
    await fixture.look(
      "INSERT INTO tier_rule (tenant_id, version, rule_name, priority, expression, target_uri, created_by) VALUES ($1, 1, 'r', 1, 'true', 's3://x', 'who')",
      [tenantId],
    );
    return { tenantId, fixture, shareIds };
  }

  /** table -> rows, of every table that has the column. */
  async function rowsWith(fixture: IngestFixture, column: string, value: unknown): Promise<Record<string, number>> {
    const tables = await fixture.look<{ name: string }>(
      `SELECT c.relname AS name FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $1 WHERE c.relnamespace = 'public'::regnamespace
         AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1`,
      [column],
    );
    const found: Record<string, number> = {};
    for (const { name } of tables) {
      const [row] = await fixture.look<{ n: string }>(`SELECT count(*) AS n FROM ${name} WHERE ${column} = $1`, [value]);
      if (row?.n !== "0") found[name] = Number(row?.n);
    }
    return found;
  }

  test("a share goes from every table, its name is free at once, and the other share stays as it was", async () => {
    const { tenantId, fixture, shareIds } = await filledTenant();
    const [first, second] = shareIds as [bigint, bigint];
    const { pool } = fixture.context;
    const before = await rowsWith(fixture, "share_id", second);
    // A table that is new has to be filled here, and erased.
    const tables = await fixture.look<{ name: string }>(
      `SELECT c.relname AS name FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'share_id' AND NOT a.attisdropped
       WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname COLLATE "C"`,
    );
    expect([...Object.keys(before), "erasure"].sort()).toEqual(tables.map(({ name }) => name));
    const open = await fixture.start("first");
    await expect(requestShareErasure(pool, { tenantId, callerId }, "first", false)).rejects.toMatchObject({
      reason: "SHARE_HAS_TIERED_FILES",
    });
    await requestShareErasure(pool, { tenantId, callerId }, "first", true);
    await fixture.createShare("first");
    await expect(fixture.finish(open.scanId, {})).rejects.toThrow();
    await eraseNow(pool, tenantId, signal);
    expect(await rowsWith(fixture, "share_id", first)).toEqual({ erasure: 1 });
    expect(await rowsWith(fixture, "share_id", second)).toEqual(before);
    expect(await listErasures(pool, tenantId)).toMatchObject([{ kind: "SHARE", shareId: first, finishedUtc: expect.any(Date) }]);
    expect(await fixture.violations()).toEqual([]);
    await fixture.close();
  }, 60_000);

  test("one that was broken off is finished by the background jobs", async () => {
    const { tenantId, fixture, shareIds } = await filledTenant();
    const { pool } = fixture.context;
    const stopped = AbortSignal.abort();
    await requestShareErasure(pool, { tenantId, callerId }, "first", true);
    // A batch, then no more: as a server that is killed leaves it.
    await inTenant(pool, tenantId, (client) => client.query("SELECT erase_share_rows($1, $2, 20)", [tenantId, shareIds[0]]));
    await eraseNow(pool, tenantId, stopped);
    expect(await listErasures(pool, tenantId)).toMatchObject([{ finishedUtc: null }]);
    expect(Object.keys(await rowsWith(fixture, "share_id", shareIds[0])).length).toBeGreaterThan(8);
    await runMaintenance({ pool, auditKeepDays: 7, signal });
    expect(await rowsWith(fixture, "share_id", shareIds[0])).toEqual({ erasure: 1 });
    expect(await listErasures(pool, tenantId)).toMatchObject([{ finishedUtc: expect.any(Date) }]);
    await fixture.close();
  }, 60_000);

  test("a person's name goes from the logs, of all months and of that tenant alone, and from the record of it", async () => {
    const [mine, other] = [await filledTenant(), await filledTenant()];
    const { fixture, tenantId } = mine;
    const { pool } = fixture.context;
    const logged = await rowsWith(fixture, "tenant_id", tenantId);
    const named = (tenant: string, name: string) =>
      fixture.look<{ n: string }>(
        `SELECT (SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND actor = $2) + (SELECT count(*) FROM warming_event WHERE tenant_id = $1 AND actor = $2)
           + (SELECT count(*) FROM audit_waiting WHERE tenant_id = $1 AND actor = $2) AS n`,
        [tenant, name],
      );
    const [ada, ben, others] = [await named(tenantId, "ada"), await named(tenantId, "ben"), await named(other.tenantId, "ada")];
    expect(Number(ada[0]?.n)).toBeGreaterThan(10);
    await requestPersonErasure(pool, { tenantId, callerId }, "ada");
    await eraseNow(pool, tenantId, signal);
    expect(await named(tenantId, "ada")).toEqual([{ n: "0" }]);
    expect(await named(tenantId, "ben")).toEqual(ben);
    expect(await named(other.tenantId, "ada")).toEqual(others);
    expect(await rowsWith(fixture, "tenant_id", tenantId)).toEqual({ ...logged, erasure: 1 });
    const [record] = await listErasures(pool, tenantId);
    expect(record).toMatchObject({ kind: "PERSON", finishedUtc: expect.any(Date), rowsErased: BigInt(ada[0]?.n ?? 0) });
    expect(await fixture.look("SELECT pending_name FROM erasure WHERE tenant_id = $1", [tenantId])).toEqual([{ pending_name: null }]);
    const direct = inTenant(pool, tenantId, (client) => client.query("UPDATE audit_log SET actor = NULL WHERE tenant_id = $1", [tenantId]));
    await expect(direct).rejects.toThrow();
    await fixture.close();
    await other.fixture.close();
  }, 60_000);

  test("whatever name a log has can be asked for, however long and odd; what none can have is refused", async () => {
    const { tenantId } = await createTestTenant(database);
    const fixture = await ingestFixture(database, tenantId);
    const shareId = await fixture.createShare("logged");
    const { pool } = fixture.context;
    const names = ["x".repeat(1000), "🎬".repeat(500), "DOMAIN\\ann\tb\r\n", " ", tokenCallerId("i".repeat(255), "s".repeat(255))];
    await fixture.look(
      "INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, source, actor) SELECT $1, 'access', $2, 1, 'test', name FROM unnest($3::text[]) AS name",
      [tenantId, shareId, names],
    );
    for (const [at, name] of names.entries()) {
      await requestPersonErasure(pool, { tenantId, callerId }, name);
      await eraseNow(pool, tenantId, signal);
      expect(await fixture.look("SELECT count(actor)::integer AS named FROM audit_log WHERE tenant_id = $1", [tenantId])).toEqual([
        { named: names.length - at - 1 },
      ]);
    }
    for (const name of ["", "x".repeat(1001), "a\0b"]) {
      await expect(requestPersonErasure(pool, { tenantId, callerId }, name)).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
        metadata: { field: "name" },
      });
    }
    await fixture.close();
  }, 60_000);

  test("a tenant goes from every table, and what another has stays", async () => {
    const [gone, stays] = [await filledTenant(), await filledTenant()];
    const { fixture } = gone;
    const { pool } = fixture.context;
    const asks = { tenantId: platform.tenantId, callerId };
    const before = await rowsWith(fixture, "tenant_id", stays.tenantId);
    const [row] = await fixture.look<{ code: string }>("SELECT code FROM tenant WHERE tenant_id = $1", [gone.tenantId]);
    await expect(requestTenantErasure(pool, asks, gone.tenantId, "other")).rejects.toMatchObject({ reason: "TENANT_CODE_DIFFERS" });
    await expect(requestTenantErasure(pool, asks, platform.tenantId, platform.code)).rejects.toMatchObject({ reason: "PLATFORM_TENANT" });
    await requestTenantErasure(pool, asks, gone.tenantId, row?.code ?? "");
    await eraseNow(pool, platform.tenantId, signal);
    expect(await rowsWith(fixture, "tenant_id", gone.tenantId)).toEqual({});
    expect(await rowsWith(fixture, "tenant_id", stays.tenantId)).toEqual(before);
    expect((await listErasures(pool, platform.tenantId))[0]).toMatchObject({
      kind: "TENANT",
      erasedTenantId: gone.tenantId,
      finishedUtc: expect.any(Date),
    });
    await fixture.close();
    await stays.fixture.close();
  }, 60_000);
}

/** Two objects with events for each share; $1 the tenant, $2 the share. */
const fillShare = `
  WITH objects AS (
    INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, object_uri, state, planned_by, planned_size_bytes, planned_mtime_unix, stub_size_bytes, stub_mtime_unix)
    SELECT tenant_id, share_id, file_current_id, 's3://x', 's3://x/y', 'STUBBED', 'who', 1, 1, 1, 1 FROM file_current
    WHERE tenant_id = $1 AND share_id = $2 AND missing_since_scan_id IS NULL ORDER BY file_current_id LIMIT 2 RETURNING tier_id
  ), events AS (
    INSERT INTO warming_event (tenant_id, position, tier_id, share_id, event_utc, recorded_utc, actor)
    SELECT $1, coalesce((SELECT max(position) FROM warming_storm WHERE tenant_id = $1), 0) + row_number() OVER (), tier_id, $2, now(), now(), 'ada' FROM objects
  ), storms AS (
    INSERT INTO warming_storm (tenant_id, position, share_id, began_utc, over_until_utc, until_utc, files, files_per_minute_limit, accesses, recorded_utc)
    SELECT $1, coalesce((SELECT max(position) FROM warming_storm WHERE tenant_id = $1), 0) + 3, $2, now(), now(), now(), 2, 1, 2, now()
  ), plans AS (
    INSERT INTO tier_plan (tenant_id, share_id, plan_no, request_id, scan_id, now_unix, planned_by, brake_confirmed, planned_files, planned_bytes,
      planned_allocated_bytes, funnel)
    SELECT $1, $2, 1, gen_random_uuid(), max(scan_id), 0, 'test', false, 0, 0, 0, '{"planned": {"files": "0"}, "rules": []}' FROM scan WHERE tenant_id = $1 AND share_id = $2
  ), holds AS (
    INSERT INTO hold (tenant_id, share_id, path_glob, reason, created_by) VALUES ($1, $2, '**', 'why', 'who')
  ), exclusions AS (
    INSERT INTO audit_exclusion (tenant_id, share_id, kind, value) VALUES ($1, $2, 'user', 'backup')
  ), policies AS (
    INSERT INTO retention_policy (tenant_id, share_id, keep_scans) VALUES ($1, $2, 100)
  )
  INSERT INTO audit_waiting (tenant_id, share_id, dir_digest, name, path, event_micros, event_id, actor) VALUES ($1, $2, gen_random_uuid(), 'f', '/f', 1, 'e', 'ada')`;
