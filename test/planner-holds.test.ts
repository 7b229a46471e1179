/** As many holds as a share may have, of the worst patterns there are: PostgreSQL still takes them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { holdsOfShareAtMost } from "../src/planner/held.js";
import { addHold, listHolds, removeHold } from "../src/planner/holds.js";
import { previewPlan } from "../src/planner/preview.js";
import { addFile, createShare, nowUnix, type PlannerFixture, plannerFixture, rule } from "./support/planner.js";

let fixture: PlannerFixture;
beforeAll(async () => {
  fixture = await plannerFixture();
});
afterAll(() => fixture.close());

/** 500 characters, 50 wildcards, and its number. */
function worst(i: number): string {
  const start = `/**/${i}`;
  const pairs = Array.from({ length: 49 }, (_, at) => `${"*?"[at % 2]}${String.fromCharCode(97 + ((at + i) % 26)).repeat(8)}`).join("");
  return (start + pairs).slice(0, 499).padEnd(500, "z");
}

test.each([true, false])("a share full of holds, case counts: %s", { timeout: 120_000 }, async (caseSensitive) => {
  const { pool, tenant, keyId } = fixture;
  const shareName = `held ${caseSensitive}`;
  const shareId = await createShare(fixture, shareName, { caseSensitive, scanned: { files: 10, bytes: 10_000n, endedUnix: nowUnix } });
  for (const path of ["/a", "/x/499", "/deep/er/keep.MOV"]) await addFile(fixture, { shareId, caseSensitive }, path);
  await fixture.look(
    `INSERT INTO hold (tenant_id, share_id, path_glob, reason, created_by) SELECT $1, $2, glob, 'x', 'x' FROM unnest($3::text[]) glob`,
    [tenant.tenantId, shareId, Array.from({ length: holdsOfShareAtMost - 1 }, (_, i) => worst(i))],
  );
  const last = await addHold(pool, tenant.tenantId, keyId, { shareName, pathGlob: "/**/keep.mov", reason: "in use" });
  await expect(addHold(pool, tenant.tenantId, keyId, { shareName, pathGlob: "/one/too/many", reason: "x" })).rejects.toMatchObject({
    code: "RESOURCE_EXHAUSTED",
    reason: "TOO_MANY_HOLDS",
  });
  // The one that is there already is no new one.
  expect(await addHold(pool, tenant.tenantId, keyId, { shareName, pathGlob: "/**/keep.mov", reason: "another" })).toEqual(last);
  expect(await listHolds(pool, tenant.tenantId, shareName)).toHaveLength(holdsOfShareAtMost);
  const candidate = { rules: [rule("all", 1, "size >= 0")], retireOthers: true };
  const held = async () =>
    (await previewPlan(pool, tenant.tenantId, { shareName, candidate, sampleSize: 10, nowUnix })).funnel.excluded.get("held")?.files;
  expect(await held()).toBe(caseSensitive ? undefined : 1n);
  await removeHold(pool, tenant.tenantId, last.hold_id);
  expect(await held()).toBeUndefined();
});

test("a pattern that cannot be meant is refused", async () => {
  await createShare(fixture, "refusing");
  const { pool, tenant, keyId } = fixture;
  for (const pathGlob of ["", "Active/**", "/a**", "/\0", `/${"x".repeat(500)}`])
    await expect(addHold(pool, tenant.tenantId, keyId, { shareName: "refusing", pathGlob, reason: "x" }), pathGlob).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      metadata: { field: "path_glob" },
    });
  await expect(addHold(pool, tenant.tenantId, keyId, { shareName: "refusing", pathGlob: "/a", reason: "" })).rejects.toMatchObject({
    metadata: { field: "reason" },
  });
});
