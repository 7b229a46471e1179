/** What a preview says, what a plan writes, and what a statement written by hand says, are one. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { applyRuleSet } from "../src/planner/apply-rules.js";
import type { Funnel, Totals } from "../src/planner/funnel.js";
import { addHold } from "../src/planner/holds.js";
import { planShare } from "../src/planner/plan.js";
import { previewPlan } from "../src/planner/preview.js";
import { generateShare, nowUnix, type PlannerFixture, plannerFixture, rule } from "./support/planner.js";

const files = Number(process.env.FROSTLINE_TEST_PLANNER_FILES ?? 30_000);

let fixture: PlannerFixture;
beforeAll(async () => {
  fixture = await plannerFixture();
});
afterAll(() => fixture.close());

/** Five that overlap, with every order and every kind of cap. */
const rules = [
  rule("media", 10, `extension in ["mov", "jpg"] && last_used < now - duration("365d")`, { max_files: 900, order: "largest" }),
  rule("large", 20, `size >= 100 * MB && last_used < now - duration("90d")`, { max_bytes: 40_000_000_000, order: "coldest" }),
  rule("archive", 20, `glob(path, "/Archive/**") && mtime < now - duration("180d")`),
  rule("alice", 30, `owner == "alice" && tier_state != "DELETED"`, { max_files: 2000, max_bytes: 100_000_000_000, order: "oldest" }),
  rule("all", 99, `last_used < now - duration("1d")`),
];

/** By hand, over the same rows and rules: a row a file, its state as a window sees it. Written without the planner's words for anything. */
const byHand = `
WITH f AS (
  SELECT c.file_current_id AS id, c.size_bytes AS size, coalesce(c.allocated_bytes, 0) AS allocated, c.mtime_unix AS mtime, GREATEST(c.atime_unix, c.mtime_unix) AS used,
    c.file_extension IN ('mov', 'jpg') AND GREATEST(c.atime_unix, c.mtime_unix, CASE WHEN c.atime_unix IS NULL THEN 0 END) < $3::bigint - 365 * 86400 AS media,
    c.size_bytes >= 104857600 AND GREATEST(c.atime_unix, c.mtime_unix) < $3::bigint - 90 * 86400 AS large,
    d.dir_path LIKE '/Archive/%' AND coalesce(c.mtime_unix, 0) < $3::bigint - 180 * 86400 AS archive,
    c.owner = 'alice' AND t.state IS DISTINCT FROM 'DELETED' AS alice,
    coalesce(GREATEST(c.atime_unix, c.mtime_unix), 0) < $3::bigint - 86400 AS every,
    CASE WHEN c.missing_since_scan_id > 0 THEN 'missing' WHEN c.metadata_complete = false THEN 'metadata_incomplete' WHEN c.stale_metadata THEN 'metadata_stale'
      WHEN c.link_count = 2 THEN 'hard_links' WHEN t.state = 'PLANNED' OR t.state = 'STUBBED' THEN 'tiered'
      WHEN t.state = 'REHYDRATED' AND extract(epoch FROM t.resident_until_utc) > $3::bigint THEN 'resident'
      WHEN t.wanted_action = 'DELETE_TARGET' THEN 'target_pending'
      WHEN d.dir_path LIKE '%/Project 7/%' OR d.dir_path LIKE '/Active/%' THEN 'held' END AS obstacle
  FROM file_current c JOIN dir d USING (tenant_id, dir_id) LEFT JOIN tier_object t USING (tenant_id, file_current_id)
  WHERE c.tenant_id = $1 AND c.share_id = $2
), m AS (
  SELECT f.*, r.name, r.place, min(r.place) OVER (PARTITION BY f.id) AS first
  FROM f CROSS JOIN LATERAL (VALUES ('media', 1, media), ('alice', 4, alice), ('archive', 2, archive), ('large', 3, large), ('all', 5, every)) r (name, place, yes)
  WHERE r.yes
), o AS (
  SELECT m.*, obstacle IS NULL AND place = first AS own FROM m
), l AS (
  SELECT o.*, count(*) FILTER (WHERE own) OVER (PARTITION BY name ORDER BY CASE name WHEN 'media' THEN -size WHEN 'alice' THEN mtime ELSE used END, id) AS nth,
    sum(CASE WHEN own AND size <= CASE name WHEN 'large' THEN 40000000000 ELSE 100000000000 END THEN size ELSE 0 END)
      OVER (PARTITION BY name ORDER BY CASE name WHEN 'media' THEN -size WHEN 'alice' THEN mtime ELSE used END, id) AS so_far
  FROM o
), s AS (
  SELECT l.*, own AND CASE name WHEN 'media' THEN nth <= 900 WHEN 'large' THEN so_far <= 40000000000 AND size <= 40000000000
    WHEN 'alice' THEN nth <= 2000 AND so_far <= 100000000000 ELSE true END AS planned FROM l
)
SELECT name, CASE WHEN obstacle IS NOT NULL THEN obstacle WHEN place <> first THEN 'taken' WHEN planned THEN 'planned' ELSE 'capped' END AS what,
  count(*) AS files, coalesce(sum(size), 0) AS bytes, sum(allocated) AS allocated, array_agg(id ORDER BY id) FILTER (WHERE planned) AS ids
FROM s GROUP BY 1, 2`;

interface HandRow extends Record<string, unknown> {
  name: string;
  what: string;
  files: string;
  bytes: string;
  allocated: string;
  ids: string[] | null;
}

function words({ files, bytes, allocatedBytes }: Totals): string {
  return `${files} ${bytes} ${allocatedBytes}`;
}

/** Each part of a funnel that is not empty, as `rule what: files bytes allocated`. */
function lines(funnel: Funnel): string[] {
  return funnel.rules
    .flatMap(({ rule: { name }, excluded, taken, capped, planned }) =>
      [...excluded, ["taken", taken] as const, ["capped", capped] as const, ["planned", planned] as const].map(
        ([what, totals]) => [`${name} ${what}: ${words(totals)}`, totals.files] as const,
      ),
    )
    .filter(([, files]) => files > 0n)
    .map(([line]) => line)
    .sort();
}

test("the funnel of five overlapping rules is what a statement by hand counts, and what a plan then writes", {
  timeout: 300_000,
}, async () => {
  const { pool, tenant, keyId, look } = fixture;
  const shareName = "generated";
  const shareId = await generateShare(fixture, shareName, files);
  await applyRuleSet(pool, tenant.tenantId, keyId, { rules, retireOthers: false }, undefined);
  for (const pathGlob of ["/Active/**", "/**/Project 7/**"])
    await addHold(pool, tenant.tenantId, keyId, { shareName, pathGlob, reason: "in use" });

  const { funnel, refusals } = await previewPlan(pool, tenant.tenantId, { shareName, sampleSize: 10, nowUnix });
  expect(refusals).toEqual([]);
  const hand = await look<HandRow>(byHand, [tenant.tenantId, shareId, nowUnix]);
  expect(lines(funnel)).toEqual(
    hand.map(({ name, what, files, bytes, allocated }) => `${name} ${what}: ${files} ${bytes} ${allocated}`).sort(),
  );
  // No part of it is empty: the test would not see a mistake there.
  expect(new Set(hand.map(({ what }) => what)).size).toBe(11);

  const { plan } = await planShare(pool, tenant.tenantId, keyId, { shareName, requestId: randomUUID(), confirmBrake: false, nowUnix });
  const stored = await look<{ name: string; id: string }>(
    `SELECT r.rule_name AS name, t.file_current_id AS id FROM tier_object t JOIN tier_rule r USING (tenant_id, rule_id)
     WHERE t.tenant_id = $1 AND t.plan_id = $2 AND t.state = 'PLANNED' AND t.wanted_action = 'STUB'`,
    [tenant.tenantId, plan.planId],
  );
  const wanted = hand.flatMap(({ name, ids }) => (ids ?? []).map((id) => `${name} ${id}`));
  expect(stored.map(({ name, id }) => `${name} ${id}`).sort()).toEqual(wanted.sort());
  expect(funnel.planned.files).toBe(BigInt(stored.length));
  expect(plan.funnel.planned).toEqual({
    files: String(funnel.planned.files),
    bytes: String(funnel.planned.bytes),
    allocated_bytes: String(funnel.planned.allocatedBytes),
  });
  const logged = await look<{ n: string }>(
    "SELECT count(*) AS n FROM audit_log WHERE tenant_id = $1 AND kind = 'tier' AND new_state = 'PLANNED'",
    [tenant.tenantId],
  );
  expect(logged[0]?.n).toBe(String(stored.length));
});
