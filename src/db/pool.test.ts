import { expect, test } from "vitest";
import { createTestDatabase } from "../../test/support/postgres.js";
import { createPools } from "./pool.js";

test("pools have ended when their connections are closed", async () => {
  const database = await createTestDatabase();
  const pools = createPools(database.runtimeUrl, { queryPoolMax: 3, ingestPoolMax: 2, onIdleError: () => {} });
  let open = 0;
  for (const pool of [pools.query, pools.ingest]) pool.on("connect", () => open++).on("remove", () => open--);
  await Promise.all([pools.query.query("SELECT 1"), pools.query.query("SELECT 1"), pools.ingest.query("SELECT 1")]);
  expect(open).toBe(3);
  await pools.end();
  expect(open).toBe(0);
  await database.drop();
});
