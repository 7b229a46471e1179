/** Background jobs, on the newest and the oldest PostgreSQL. */
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate } from "../src/db/migrate.js";
import { createPools, type Pools } from "../src/db/pool.js";
import { inTenant } from "../src/db/tenant.js";
import { DirectoryCache } from "../src/ingest/audit/directory-cache.js";
import { type AuditContext, pushAudit } from "../src/ingest/audit/push-audit.js";
import { ShareTurns } from "../src/ingest/audit/share-turns.js";
import { receivedBatch } from "./support/audit-batch.js";
import type { RunningCluster } from "./support/cluster.js";
import { chunkOf, fileRecord, type IngestFixture, ingestFixture, listing } from "./support/ingest.js";
import { runMaintenance } from "./support/maintenance.js";
import {
  createEmptyDatabase,
  createTestDatabase,
  missingPostgres14,
  postgres14,
  type TestDatabase,
  withClient,
} from "./support/postgres.js";
import { createTestTenant } from "./support/tenant.js";

let database: TestDatabase;
let pools: Pools;
const signal = new AbortController().signal;
const run = (auditKeepDays = 7) => runMaintenance({ pool: pools.query, auditKeepDays, signal });

describe("on the run's PostgreSQL", () => {
  maintenanceTests(createTestDatabase);
});

describe.skipIf(missingPostgres14())("on PostgreSQL 14", () => {
  let running: RunningCluster;
  beforeAll(async () => {
    running = await postgres14();
  });
  afterAll(() => running.stop());
  maintenanceTests(async () => {
    const empty = await createEmptyDatabase(running.cluster);
    await migrate(empty.ownerUrl);
    return empty;
  });
});

function maintenanceTests(create: () => Promise<TestDatabase>): void {
  beforeAll(async () => {
    database = await create();
    pools = createPools(database.runtimeUrl, { queryPoolMax: 3, ingestPoolMax: 1, onIdleError: () => {} });
  });
  afterAll(async () => {
    await pools.end();
    await database.drop();
  });

  describe("processed audit events", pruneTests);
  describe("partitions of audit_log", partitionTests);
  describe("runs", runTests);
}

async function look<Row extends pg.QueryResultRow>(sql: string, values: unknown[] = []): Promise<Row[]> {
  return withClient(database.superuserUrl, async (client) => (await client.query<Row>(sql, values)).rows);
}

async function eventIds(tenantId: string): Promise<string[]> {
  const rows = await look<{ audit_event_id: string }>(
    "SELECT audit_event_id FROM lucid_audit_processed WHERE tenant_id = $1 ORDER BY processed_utc, audit_event_id",
    [tenantId],
  );
  return rows.map((row) => row.audit_event_id);
}

/** A tenant with one scanned file, and an audit file of 10 reads of it. */
async function tenantWithEvents(auditFilePath: string): Promise<{ tenantId: string; fixture: IngestFixture }> {
  const { tenantId } = await createTestTenant(database);
  const fixture = await ingestFixture(database, tenantId);
  await fixture.createShare("films");
  const { scanId } = await fixture.start("films");
  const file = { sizeBytes: 1n, mtimeUnix: 1n, atimeUnix: 1n, ctimeUnix: 1n, frn: undefined };
  await fixture.push(scanId, [chunkOf(0, [listing("/", [fileRecord("a", file)])])]);
  await fixture.finish(scanId, { main: 1n });
  await pushReads(
    { ...fixture.context, prefetchIsAccess: false, directories: new DirectoryCache(), turns: new ShareTurns() },
    tenantId,
    auditFilePath,
    10,
  );
  return { tenantId, fixture };
}

function pushReads(context: AuditContext, tenantId: string, auditFilePath: string, events: number) {
  async function* messages() {
    yield { open: { shareName: "films", volumeId: tenantId } };
    const one = {
      action: "READ",
      path: "/a",
      targetPath: "",
      user: "",
      host: "",
      node: "",
      actionName: "",
      refusedReason: "",
      eventId: "",
    } as const;
    const reads = Array.from({ length: events }, (_, i) => ({ ...one, offset: BigInt(i * 100), timeMicros: BigInt(i + 10) * 1_000_000n }));
    const end = BigInt(events * 100);
    yield {
      batch: receivedBatch({
        auditFilePath,
        headFingerprint: Buffer.from("x"),
        startOffset: 0n,
        endOffset: end,
        events: reads,
        restarted: false,
      }),
    };
  }
  return pushAudit(context, tenantId, messages());
}

function pruneTests(): void {
  test("are forgotten when they are old and behind the cursor, of every tenant; young ones and those beyond it stay", async () => {
    const tenants = [await tenantWithEvents("node/2026/07/Ærø 東京.log"), await tenantWithEvents("b.log")];
    for (const { tenantId } of tenants) {
      const [first] = await eventIds(tenantId);
      const file = first?.split(":")[0];
      await look(
        `UPDATE lucid_audit_processed SET processed_utc = now() - CASE WHEN audit_event_id NOT LIKE '%:900:%'
           THEN interval '7 days 1 minute' ELSE interval '6 days 23 hours' END WHERE tenant_id = $1`,
        [tenantId],
      );
      await look(
        `INSERT INTO lucid_audit_processed SELECT $1::uuid, $1::text, $2 || id, now() - interval '1 year' FROM unnest(ARRAY[':0:1000', ':0:0999', ':1:5', 'no file:0:5']) AS id`,
        [tenantId, file],
      );
    }
    expect(await run()).toMatchObject({ ran: true, eventsPruned: 20 });
    for (const { tenantId, fixture } of tenants) {
      const left = (await eventIds(tenantId)).map((id) => id.slice(16)).sort();
      // The one at 900 is young; generation 0 was read up to 1000, generation 1 not at all.
      expect(left).toEqual([":0:1000", `:0:900:${(19_000_000).toString(36)}`, ":1:5", "no file:0:5"]);
      await fixture.close();
    }
    expect(await run()).toMatchObject({ ran: true, eventsPruned: 0 });
  });

  test("of a whole backlog go in bounded batches, even those of one moment", async () => {
    const { tenantId, fixture } = await tenantWithEvents("c.log");
    const [first] = await eventIds(tenantId);
    await look("UPDATE lucid_audit_cursor SET last_position = 1000000 WHERE tenant_id = $1", [tenantId]);
    await look(
      "INSERT INTO lucid_audit_processed SELECT $1::uuid, $1::text, $2 || n, now() - make_interval(days => 8 + n / 30000) FROM generate_series(2001, 67000) n",
      [tenantId, `${first?.split(":")[0]}:0:`],
    );
    expect((await run()).eventsPruned).toBe(65_000);
    expect(await eventIds(tenantId)).toHaveLength(10);
    await fixture.close();
  });

  test("accesses that waited in vain are forgotten in batches; young ones wait on", async () => {
    const { tenantId, fixture } = await tenantWithEvents("w.log");
    await look(
      `INSERT INTO audit_waiting (tenant_id, share_id, dir_digest, name, path, event_micros, event_id, recorded_utc)
       SELECT $1, share_id, $1, n::text, '/x/' || n, n, 'e' || n, now() - make_interval(days => CASE WHEN n < 25000 THEN 8 ELSE 6 END)
       FROM share, generate_series(1, 25009) n WHERE tenant_id = $1`,
      [tenantId],
    );
    expect(await run()).toMatchObject({ ran: true, waitingPruned: 24_999 });
    expect(await look("SELECT count(*)::integer AS waiting FROM audit_waiting WHERE tenant_id = $1", [tenantId])).toEqual([
      { waiting: 10 },
    ]);
    await fixture.close();
  });

  test("of another tenant than the transaction's are out of reach, and none can be deleted but through the function", async () => {
    const { tenantId, fixture } = await tenantWithEvents("d.log");
    const { tenantId: other } = await createTestTenant(database);
    const pruned = await inTenant(pools.query, other, async (client) => {
      const { rows } = await client.query("SELECT seen FROM prune_audit_processed($1, '-infinity', 'infinity', 100)", [tenantId]);
      return rows;
    });
    expect(pruned).toEqual([{ seen: 0n }]);
    const direct = inTenant(pools.query, tenantId, (client) =>
      client.query("DELETE FROM lucid_audit_processed WHERE tenant_id = $1", [tenantId]),
    );
    await expect(direct).rejects.toThrow();
    expect(await eventIds(tenantId)).toHaveLength(10);
    await fixture.close();
  });
}

function partitionTests(): void {
  /** Its rows by partition. */
  const rowsByPartition = () =>
    look<{ partition: string; rows: string }>(
      "SELECT tableoid::regclass::text AS partition, count(*) AS rows FROM audit_log WHERE source = 'partition test' GROUP BY 1 ORDER BY 1",
    );
  const months = async () => {
    const rows = await look<{ name: string }>(
      "SELECT 'audit_log_' || to_char((now() AT TIME ZONE 'UTC') - interval '1 day' * (extract(day FROM now() AT TIME ZONE 'UTC') - 1) + make_interval(months => n), 'YYYYMM') AS name FROM generate_series(0, 2) n",
    );
    return rows.map((row) => row.name);
  };

  test("exist for this month and the next two after a migration, and a run finds nothing to make", async () => {
    const rows = await look<{ name: string }>(
      "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'audit_log'::regclass ORDER BY 1",
    );
    expect(rows.map((row) => row.name)).toEqual([...(await months()), "audit_log_default"]);
    expect((await run()).partitionsMade).toEqual([]);
  });

  test("that are missing are made by one of several servers; what lay in the default one meanwhile is moved, and hidden from other tenants", async () => {
    const names = await months();
    const [mine, other] = [await createTestTenant(database), await createTestTenant(database)];
    for (const name of names.slice(0, 2)) await look(`DROP TABLE ${name}`);
    for (const { tenantId } of [mine, other]) {
      await look(
        `INSERT INTO audit_log (tenant_id, recorded_utc, kind, share_id, file_current_id, source)
         SELECT $1, at, 'access', 1, 1, 'partition test' FROM unnest(ARRAY[now(), now(), now() - interval '2 years']) AS at`,
        [tenantId],
      );
    }
    expect(await rowsByPartition()).toEqual([{ partition: "audit_log_default", rows: "6" }]);
    const makers = Array.from({ length: 3 }, () => pools.query.query<{ name: string }>("SELECT make_audit_log_partitions(2) AS name"));
    const made = (await Promise.all(makers)).flatMap(({ rows }) => rows.map((row) => row.name));
    expect(made).toEqual(names.slice(0, 2));
    expect(await rowsByPartition()).toEqual([
      { partition: names[0], rows: "4" },
      { partition: "audit_log_default", rows: "2" },
    ]);
    const forced = await look(
      "SELECT relname FROM pg_class WHERE relname LIKE 'audit_log%' AND relkind IN ('r', 'p') AND NOT (relrowsecurity AND relforcerowsecurity)",
    );
    expect(forced).toEqual([]);
    const visible = await inTenant(pools.query, mine.tenantId, (client) => client.query("SELECT DISTINCT tenant_id FROM audit_log"));
    expect(visible.rows).toEqual([{ tenant_id: mine.tenantId }]);
    const indexes = await look("SELECT indexname FROM pg_indexes WHERE tablename = $1", [names[0]]);
    expect(indexes).toHaveLength(1);
  });
}

function runTests(): void {
  test("are left to the server that is at it", async () => {
    await withClient(database.runtimeUrl, async (client) => {
      await client.query("SELECT pg_advisory_lock(hashtextextended('maintenance', 0))");
      expect(await run()).toMatchObject({ ran: false, partitionsMade: [], eventsPruned: 0, waitingPruned: 0 });
    });
    expect((await run()).ran).toBe(true);
  });
}
