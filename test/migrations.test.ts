import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { packageRoot } from "../src/db/embedded.js";
import { migrate } from "../src/db/migrate.js";
import { describeCatalog } from "./support/catalog.js";
import type { Cluster, RunningCluster } from "./support/cluster.js";
import { createEmptyDatabase, missingPostgres14, postgres14, withClient } from "./support/postgres.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";

const migrationsDir = path.join(packageRoot, "migrations");
const files = (await fs.readdir(migrationsDir)).filter((file) => /^\d.*\.sql$/.test(file)).sort();
const names = files.map((file) => file.replace(/\.sql$/, ""));

test("migrations are numbered without a gap", () => {
  expect(files.map((file) => file.slice(0, 5))).toEqual(files.map((_, i) => `${String(i + 1).padStart(4, "0")}_`));
});

describe("on the run's PostgreSQL", () => {
  migrationTests(() => inject("cluster"));
});

describe.skipIf(missingPostgres14())("on PostgreSQL 14", () => {
  let running: RunningCluster;
  beforeAll(async () => {
    running = await postgres14();
  });
  afterAll(() => running.stop());

  test("it is 14", async () => {
    const { rows } = await withClient(running.cluster.superuserUrl, (client) => client.query("SHOW server_version"));
    expect(rows[0].server_version).toMatch(/^14\./);
  });
  migrationTests(() => running.cluster);
});

function migrationTests(cluster: () => Cluster): void {
  let scratch: Scratch;
  beforeAll(async () => {
    scratch = await scratchDirectory();
  });
  afterAll(() => scratch.remove());

  test("an empty database becomes the newest, and a second run finds nothing to do", async () => {
    const database = await createEmptyDatabase(cluster());
    expect(await migrate(database.ownerUrl)).toEqual(names);
    const once = await describeCatalog(database.ownerUrl);
    expect(await migrate(database.ownerUrl)).toEqual([]);
    expect(await describeCatalog(database.ownerUrl)).toEqual(once);
    await database.drop();
  });

  test.each(names.map((name, i) => [name, i + 1] as const))("a database left at %s arrives at the same schema", async (_, applied) => {
    const past = path.join(scratch.path, String(applied));
    await fs.mkdir(past);
    for (const file of files.slice(0, applied)) await fs.copyFile(path.join(migrationsDir, file), path.join(past, file));
    const [stepwise, direct] = [await createEmptyDatabase(cluster()), await createEmptyDatabase(cluster())];
    expect(await migrate(stepwise.ownerUrl, past)).toEqual(names.slice(0, applied));
    expect(await migrate(stepwise.ownerUrl)).toEqual(names.slice(applied));
    await migrate(direct.ownerUrl);
    expect(await describeCatalog(stepwise.ownerUrl)).toEqual(await describeCatalog(direct.ownerUrl));
    await stepwise.drop();
    await direct.drop();
  });

  test("0012: warming events that were there get their share, and positions go on behind them", async () => {
    const past = path.join(scratch.path, "before 0012");
    await fs.mkdir(past);
    for (const file of files.filter((name) => name < "0012")) await fs.copyFile(path.join(migrationsDir, file), path.join(past, file));
    const database = await createEmptyDatabase(cluster());
    await migrate(database.ownerUrl, past);
    const tenants = ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"];
    await withClient(database.superuserUrl, async (client) => {
      for (const tenant of tenants) await client.query(warmedRows(tenant));
    });
    await migrate(database.ownerUrl);
    const { rows } = await withClient(database.superuserUrl, (client) =>
      client.query(`SELECT e.tenant_id, e.position, e.share_id = t.share_id AS of_share, p.last_position
        FROM warming_event e JOIN tier_object t USING (tenant_id, tier_id) JOIN warming_position p USING (tenant_id) ORDER BY 1, 2`),
    );
    expect(rows).toEqual(
      tenants.flatMap((tenant) => ["1", "7"].map((position) => ({ tenant_id: tenant, position, of_share: true, last_position: "7" }))),
    );
    await database.drop();
  });

  test("several at once: each migration is run by exactly one", async () => {
    const database = await createEmptyDatabase(cluster());
    const runs = await Promise.all([1, 2, 3].map(() => migrate(database.ownerUrl)));
    expect(runs.flat()).toEqual(names);
    await database.drop();
  });

  test("neither the runtime role nor a superuser migrates, and nothing is left behind", async () => {
    const database = await createEmptyDatabase(cluster());
    for (const url of [database.runtimeUrl, database.superuserUrl])
      await expect(migrate(url)).rejects.toMatchObject({ reason: "NOT_OWNER" });
    expect(await describeCatalog(database.ownerUrl)).toEqual([]);
    await database.drop();
  });
}

/** A tenant with a stubbed file and two accesses to it, in the schema before 0012. */
function warmedRows(tenant: string): string {
  return `
    INSERT INTO tenant (tenant_id, code, name, is_platform) VALUES ('${tenant}', '${tenant.slice(-8)}', 'x', false);
    INSERT INTO share (tenant_id, share_name, src_type, case_sensitive) VALUES ('${tenant}', 'films', 'NTFS', false);
    INSERT INTO dir (tenant_id, dir_id, share_id, path_digest, dir_path) SELECT tenant_id, 1, share_id, gen_random_uuid(), '/' FROM share WHERE tenant_id = '${tenant}';
    INSERT INTO file_current (tenant_id, file_current_id, share_id, dir_id, name) SELECT tenant_id, 1, share_id, 1, 'x' FROM share WHERE tenant_id = '${tenant}';
    INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, planned_by)
      SELECT tenant_id, share_id, 1, 's3://x', 'STUBBED', 'who' FROM share WHERE tenant_id = '${tenant}';
    INSERT INTO warming_event (tenant_id, position, tier_id, event_utc)
      SELECT tenant_id, n, tier_id, now() FROM tier_object CROSS JOIN (VALUES (1), (7)) AS v (n) WHERE tenant_id = '${tenant}'`;
}
