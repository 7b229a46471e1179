/** The same tests on the run's PostgreSQL and on the oldest one that is supported. */
import { afterAll, beforeAll, describe } from "vitest";
import { migrate } from "../../src/db/migrate.js";
import type { RunningCluster } from "./cluster.js";
import { createEmptyDatabase, createTestDatabase, missingPostgres14, postgres14, type TestDatabase } from "./postgres.js";

/** `tests` is called for each version; the database is there once a `beforeAll` or test of it runs. */
export function describeOnEachPostgres(tests: (database: () => TestDatabase) => void): void {
  describe("on the run's PostgreSQL", () => {
    let database: TestDatabase;
    beforeAll(async () => {
      database = await createTestDatabase();
    });
    afterAll(() => database?.drop());
    tests(() => database);
  });
  describe.skipIf(missingPostgres14())("on PostgreSQL 14", () => {
    let running: RunningCluster;
    let database: TestDatabase;
    beforeAll(async () => {
      running = await postgres14();
      database = await createEmptyDatabase(running.cluster);
      await migrate(database.ownerUrl);
    });
    afterAll(() => running?.stop());
    tests(() => database);
  });
}
