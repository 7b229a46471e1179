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
