import { expect, test } from "vitest";
import { createTestDatabase, withClient } from "./postgres.js";

test("a test database is migrated, and the code under test is no superuser in it", async () => {
  const database = await createTestDatabase();
  for (const url of [database.ownerUrl, database.runtimeUrl]) {
    const { rows } = await withClient(url, (c) =>
      c.query("SELECT rolsuper, rolbypassrls, (SELECT count(*) FROM file) AS files FROM pg_roles WHERE rolname = current_user"),
    );
    expect(rows).toEqual([{ rolsuper: false, rolbypassrls: false, files: "0" }]);
  }
  await database.drop();
  await expect(withClient(database.runtimeUrl, (c) => c.query("SELECT 1"))).rejects.toMatchObject({ code: "3D000" });
});
