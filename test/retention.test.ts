/** History is purged and nothing that is kept changes, on the newest and the oldest PostgreSQL. */
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate } from "../src/db/migrate.js";
import { inTenant } from "../src/db/tenant.js";
import { streamSnapshot } from "../src/history/snapshot.js";
import { setPolicy } from "../src/retention/policies.js";
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
import { seededRandom } from "./support/random.js";
import { RetainedShare } from "./support/retained-share.js";
import { spawnServer } from "./support/server.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";

const signal = new AbortController().signal;
const keptScans = 5;

describe("on the run's PostgreSQL", () => retentionTests(createTestDatabase));

describe.skipIf(missingPostgres14())("on PostgreSQL 14", () => {
  let running: RunningCluster;
  beforeAll(async () => {
    running = await postgres14();
  });
  afterAll(() => running.stop());
  retentionTests(async () => {
    const empty = await createEmptyDatabase(running.cluster);
    await migrate(empty.ownerUrl);
    return empty;
  });
});

function retentionTests(create: () => Promise<TestDatabase>): void {
  let database: TestDatabase;
  let tenant: TestTenant;
  let fixture: IngestFixture;

  beforeAll(async () => {
    database = await create();
    tenant = await createTestTenant(database);
    fixture = await ingestFixture(database, tenant.tenantId);
  });
  afterAll(async () => {
    await fixture?.close();
    await database?.drop();
  });

  const run = () => runMaintenance({ pool: fixture.context.pool, auditKeepDays: 7, signal });
  const keep = (shareId: bigint | undefined, policy: { keepScans?: number; keepDays?: number }) =>
    inTenant(fixture.context.pool, tenant.tenantId, (client) => setPolicy(client, tenant.tenantId, shareId, policy));
  const versions = async (shareId: bigint) => {
    const rows = await fixture.look<{ n: string }>("SELECT count(*) AS n FROM file WHERE share_id = $1", [shareId]);
    return Number(rows[0]?.n);
  };

  test("of policies set at the same moment one holds", async () => {
    const shareId = await fixture.createShare("set at once");
    for (const id of [undefined, shareId]) {
      await Promise.all(Array.from({ length: 8 }, (_, n) => keep(id, { keepScans: n + 1 })));
      expect(
        await fixture.look("SELECT keep_scans IS NOT NULL AS set FROM retention_policy WHERE share_id IS NOT DISTINCT FROM $1", [id]),
      ).toEqual([{ set: true }]);
      await keep(id, {});
    }
    expect(await fixture.look("SELECT FROM retention_policy")).toEqual([]);
  });

  test("of 30 scans 5 are kept: they read as before, the versions are those predicted, and 10 more rounds do not add to them", async () => {
    const shareId = await fixture.createShare("films");
    const share = new RetainedShare(fixture, "films", seededRandom());
    for (let n = 0; n < 30; n++) await share.scan();
    const all = await versions(shareId);
    await run();
    expect(await versions(shareId), "without a policy").toBe(all);

    await keep(shareId, { keepScans: keptScans });
    const before = await share.readable(keptScans);
    await run();
    expect(await share.readable(keptScans)).toEqual(before);
    expect(await versions(shareId)).toBe(share.versions(keptScans));
    expect(all).toBeGreaterThan(2 * share.versions(keptScans));
    for (const scanId of share.scanIds.slice(0, -keptScans)) {
      const reading = streamSnapshot(fixture.context.pool, tenant.tenantId, scanId, signal).next();
      await expect(reading).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "HISTORY_PURGED" });
    }
    for (let round = 0; round < 10; round++) {
      await share.scan();
      const kept = await share.readable(keptScans);
      await run();
      expect(await share.readable(keptScans)).toEqual(kept);
      expect(await versions(shareId)).toBe(share.versions(keptScans));
    }
    expect(await fixture.violations()).toEqual([]);
  }, 120_000);

  test("a policy of days keeps what ended within them, a share's own goes before the tenant's, and the newest scan always stays", async () => {
    const [own, other] = [await fixture.createShare("own"), await fixture.createShare("other")];
    const shares = [new RetainedShare(fixture, "own", seededRandom(), 40), new RetainedShare(fixture, "other", seededRandom(), 40)];
    for (const share of shares) for (let n = 0; n < 4; n++) await share.scan();
    const [first, second] = shares as [RetainedShare, RetainedShare];
    const ended = (scanId: bigint | undefined, days: number) =>
      fixture.look("UPDATE scan SET finished_utc = now() - make_interval(days => $2) WHERE scan_id = $1", [scanId, days]);
    for (const share of shares) for (const [at, scanId] of share.scanIds.entries()) await ended(scanId, 40 - 10 * at);
    await keep(own, { keepDays: 25 });
    await keep(undefined, { keepDays: 5 });
    await run();
    expect(await versions(own)).toBe(first.versions(2));
    expect(await versions(other)).toBe(second.versions(1));
    await keep(undefined, {});
    expect(await fixture.violations()).toEqual([]);
  }, 60_000);

  test("the runtime role deletes no version itself, none that a readable scan needs, and none of another tenant", async () => {
    const shareId = await fixture.createShare("guarded");
    const share = new RetainedShare(fixture, "guarded", seededRandom(), 40);
    for (let n = 0; n < 3; n++) await share.scan();
    const before = await versions(shareId);
    const attempt = (tenantId: string, sql: string, values: unknown[]) =>
      inTenant(fixture.context.pool, tenantId, (client) => client.query(sql, values));
    await expect(attempt(tenant.tenantId, "DELETE FROM file WHERE tenant_id = $1", [tenant.tenantId])).rejects.toThrow();
    const purge =
      "SELECT purge_versions($1, $2, $3, ARRAY(SELECT dir_id FROM file WHERE share_id = $2), ARRAY(SELECT name FROM file WHERE share_id = $2))";
    const values = [tenant.tenantId, shareId, share.scanIds.at(-1)];
    await expect(attempt(tenant.tenantId, purge, values)).rejects.toThrow();
    const other = await createTestTenant(database);
    await expect(attempt(other.tenantId, purge, values)).rejects.toThrow();
    expect(await versions(shareId)).toBe(before);
  }, 60_000);

  test("a server killed in the middle of a purge leaves what the next one finishes", async () => {
    const shareId = await fixture.createShare("large");
    const files = 12_000;
    for (let size = 1n; size <= 2n; size++) {
      const { scanId } = await fixture.start("large");
      const file = { sizeBytes: size, mtimeUnix: size, atimeUnix: size, ctimeUnix: size, frn: undefined };
      const records = Array.from({ length: files }, (_, n) => fileRecord(`f${n}`, file));
      await fixture.push(scanId, [chunkOf(0, [listing("/", records)])]);
      await fixture.finish(scanId, { main: 1n });
    }
    expect(await versions(shareId)).toBe(2 * files);
    await keep(shareId, { keepScans: 1 });
    await withClient(database.superuserUrl, async (client) => {
      // Neither among the first 5,000 by name nor by place: a batch or two are done when the purge comes to this one, and waits.
      await client.query("BEGIN");
      await client.query("SELECT FROM file WHERE share_id = $1 AND name = 'f9999' AND change = 'A' FOR UPDATE", [shareId]);
      const server = await spawnServer({ database, tenant });
      try {
        while (!(await purgeWaits())) await turn();
        await server.kill();
      } finally {
        await server.close();
      }
      const left = await versions(shareId);
      expect(left).toBeLessThan(2 * files);
      expect(left).toBeGreaterThan(files);
      await client.query("ROLLBACK");
    });
    await fixture.look(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT purge_versions%' AND pid <> pg_backend_pid()",
    );
    // The lock goes with the connection of the server that was killed, and a run that never ended is due again only some time after it began.
    await fixture.look("UPDATE background_job SET next_due_utc = now() - interval '1 s'");
    while ((await versions(shareId)) > files) await run();
    expect(await versions(shareId)).toBe(files);
    expect(await fixture.violations()).toEqual([]);
  }, 120_000);

  async function purgeWaits(): Promise<boolean> {
    const rows = await fixture.look(
      "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT purge_versions%' AND datname = current_database()",
    );
    return rows.length > 0;
  }
}
