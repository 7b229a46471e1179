/** What a plan refuses, that it happens once, and what it does to objects of an earlier time. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inTenant } from "../src/db/tenant.js";
import { applyRuleSet, deleteRule } from "../src/planner/apply-rules.js";
import { compareRules } from "../src/planner/compare.js";
import { addHold } from "../src/planner/holds.js";
import { type PlanRequest, planShare } from "../src/planner/plan.js";
import { listPlans } from "../src/planner/plans.js";
import { previewPlan } from "../src/planner/preview.js";
import type { RuleSpec } from "../src/planner/rule.js";
import { stillMatches } from "../src/planner/still-matches.js";
import { addFile, createShare, generateShare, nowUnix, type PlannerFixture, plannerFixture, rule } from "./support/planner.js";
import { withClient } from "./support/postgres.js";

let fixture: PlannerFixture;
beforeAll(async () => {
  fixture = await plannerFixture();
});
afterAll(() => fixture.close());

const endedUnix = nowUnix - 3600n;

/** These, and no others, are in force from now on. */
async function inForce(...rules: RuleSpec[]): Promise<void> {
  await applyRuleSet(fixture.pool, fixture.tenant.tenantId, fixture.keyId, { rules, retireOthers: true }, undefined);
}

function plan(shareName: string, rest: Partial<PlanRequest> = {}) {
  const request = { shareName, requestId: randomUUID(), confirmBrake: false, nowUnix, ...rest };
  return planShare(fixture.pool, fixture.tenant.tenantId, fixture.keyId, request);
}

function preview(shareName: string) {
  return previewPlan(fixture.pool, fixture.tenant.tenantId, { shareName, sampleSize: 10, nowUnix });
}

/** Objects, plans and log rows of a share. */
async function written(shareId: bigint): Promise<string> {
  const [row] = await fixture.look<{ counts: string }>(
    `SELECT concat_ws(' ', (SELECT count(*) FROM tier_object WHERE share_id = $1), (SELECT count(*) FROM tier_plan WHERE share_id = $1),
       (SELECT count(*) FROM audit_log WHERE share_id = $1)) AS counts`,
    [shareId],
  );
  return row?.counts as string;
}

test("a share without rules, without a complete scan, or with one that is too old is refused, and the preview says so", async () => {
  const never = await createShare(fixture, "never scanned");
  const scanned = await createShare(fixture, "scanned", { scanned: { files: 10, bytes: 10_000n, endedUnix } });
  await addFile(fixture, { shareId: scanned }, "/a");
  await inForce(rule("other", 1, "size > 0", { share_names: ["never scanned"] }), { ...rule("off", 1, "size > 0"), enabled: false });
  await expect(plan("scanned")).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "NO_RULES" });
  await expect(plan("never scanned")).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "NO_COMPLETE_SCAN" });
  expect((await preview("never scanned")).refusals).toMatchObject([{ reason: "NO_COMPLETE_SCAN" }]);

  // The strictest rule decides: to the second.
  await inForce(
    rule("strict", 1, "size > 5000", { max_scan_age_seconds: 3600 }),
    rule("lax", 2, "size > 0", { max_scan_age_seconds: 9999 }),
  );
  await expect(plan("scanned", { nowUnix: nowUnix + 1n })).rejects.toMatchObject({
    reason: "SCAN_TOO_OLD",
    metadata: { rule: "strict", age_seconds: "3601", limit_seconds: "3600" },
  });
  expect([await written(never), await written(scanned)]).toEqual(["0 0 0", "0 0 0"]);
  await expect(plan("unknown")).rejects.toMatchObject({ code: "NOT_FOUND" });
  expect((await plan("scanned")).plan.funnel.planned.files).toBe("1");
});

test("a preview asks in one read-only transaction, for no lock, and leaves nothing behind", async () => {
  await generateShare(fixture, "looked at", 300);
  await inForce(rule("capped", 1, "size > 0", { max_files: 5 }), rule("held", 2, "size > 0"));
  const statements: string[] = [];
  const client = await fixture.pool.connect();
  const query = client.query.bind(client) as (...args: unknown[]) => Promise<{ rows: { xid: string | null }[] }>;
  /** The transaction's number at its end, which it has only if it wrote. */
  const written: (string | null | undefined)[] = [];
  client.query = (async (...args: unknown[]) => {
    statements.push(String(args[0]));
    if (args[0] === "COMMIT") written.push((await query("SELECT pg_current_xact_id_if_assigned() AS xid")).rows[0]?.xid);
    return query(...args);
  }) as typeof client.query;
  const pool = { connect: async () => client } as unknown as PlannerFixture["pool"];
  await previewPlan(pool, fixture.tenant.tenantId, { shareName: "looked at", sampleSize: 10, nowUnix });
  expect(statements.filter((text) => text.startsWith("BEGIN"))).toEqual([
    expect.stringMatching(/^BEGIN READ ONLY; SET LOCAL app\.tenant_id/),
  ]);
  expect(statements.filter((text) => /pg_(try_)?advisory|FOR (NO KEY )?(UPDATE|SHARE)|CREATE|LOCK TABLE/.test(text))).toEqual([]);
  // It is answered before its COMMIT.
  await expect.poll(() => written).toEqual([null]);
});

test("the paths of a preview's samples fit in its answer, however long they are", async () => {
  const shareId = await createShare(fixture, "long", { scanned: { files: 100, bytes: 10n ** 9n, endedUnix } });
  const dir = `/${"d".repeat(250)}`.repeat(250);
  for (let i = 0; i < 40; i += 1) {
    const usedUnix = nowUnix - 86_400n * BigInt(Math.floor(2 ** (i / 3)));
    await addFile(fixture, { shareId }, `${dir}/${i}`, { size_bytes: 4 ** (i % 13), atime_unix: usedUnix, mtime_unix: usedUnix });
  }
  const candidate = {
    rules: Array.from({ length: 2 }, (_, i) => rule(`rule-${i}`, i, `size < ${4 ** (6 * (i + 1))}`)),
    retireOthers: true,
  };
  const { samples } = await previewPlan(fixture.pool, fixture.tenant.tenantId, { shareName: "long", candidate, sampleSize: 100, nowUnix });
  expect(samples.flat().length).toBe(Math.floor(1024 ** 2 / (dir.length + 3)));
});

test("the brake stops a plan beyond a part of the share's files, or of its bytes, until it is confirmed", async () => {
  const shareId = await createShare(fixture, "braked", { scanned: { files: 10, bytes: 10_000n, endedUnix } });
  for (const name of ["/a", "/b", "/c"]) await addFile(fixture, { shareId }, name);
  await inForce(rule("loose", 1, "size > 0"), rule("tight", 2, "size < 0", { brake_percent: 30 }));
  await plan("braked");
  await addFile(fixture, { shareId }, "/large", { size_bytes: 3001 });
  await expect(plan("braked")).rejects.toMatchObject({
    code: "FAILED_PRECONDITION",
    reason: "PLAN_BRAKE",
    metadata: { brake_percent: "30", rule: "tight" },
  });
  for (const name of ["/d", "/e", "/f"]) await addFile(fixture, { shareId }, name, { size_bytes: 1 });
  expect((await preview("braked")).refusals).toMatchObject([{ reason: "PLAN_BRAKE" }]);
  expect(await written(shareId)).toBe("3 1 3");
  const confirmed = await plan("braked", { confirmBrake: true });
  expect(confirmed.plan).toMatchObject({ planNo: 2, brakeConfirmed: true, funnel: { planned: { files: "4", bytes: "3004" } } });
});

test("sixteen calls at once: one plan for each request id, and each file in one of them", async () => {
  const shareId = await generateShare(fixture, "contended", 3000);
  const own = rule("mine", 1, "size >= 0", { share_names: ["contended"] });
  await inForce(own);
  const expected = (await preview("contended")).funnel.planned.files;
  const ids = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
  const before = Number((await written(shareId)).split(" ")[0]);
  const outcomes = await Promise.allSettled(Array.from({ length: 16 }, (_, i) => plan("contended", { requestId: ids[i % 4] as string })));
  for (const outcome of outcomes)
    if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "ABORTED", reason: "PLAN_RUNNING" });
  const made = [];
  for (const requestId of ids) made.push(await plan("contended", { requestId }));
  const plans = await listPlans(fixture.pool, fixture.tenant.tenantId, "contended", undefined, 100);
  expect(plans.map(({ planNo }) => planNo)).toEqual([4, 3, 2, 1]);
  expect(new Set(made.map(({ plan: { planId } }) => planId)).size).toBe(4);
  expect(plans.map(({ funnel }) => funnel.planned.files)).toEqual(["0", "0", "0", String(expected)]);
  const [stored] = await fixture.look<{ planned: string; replanned: string }>(
    `SELECT count(*) FILTER (WHERE plan_id IS NOT NULL) AS planned, count(*) - $2 AS replanned FROM tier_object WHERE share_id = $1`,
    [shareId, before],
  );
  expect(stored?.planned).toBe(String(expected));
  await expect(plan("braked", { requestId: ids[0] as string })).rejects.toMatchObject({
    code: "ALREADY_EXISTS",
    reason: "REQUEST_ID_USED",
  });
});

test("a plan while another is being made says so", async () => {
  await generateShare(fixture, "locked", 300);
  await inForce(rule("mine", 1, "size >= 0"));
  const [share] = await fixture.look<{ share_id: string }>("SELECT share_id FROM share WHERE share_name = 'locked'");
  await withClient(fixture.database.superuserUrl, async (client) => {
    await client.query("SELECT pg_advisory_lock(hashtextextended($1, 0))", [`plan of share ${share?.share_id}`]);
    await expect(plan("locked")).rejects.toMatchObject({ code: "ABORTED", reason: "PLAN_RUNNING", retryDelayMs: 5000 });
  });
});

test("a plan that others overtake each time says so too", async () => {
  await createShare(fixture, "outrun", { scanned: { files: 10, bytes: 10_000n, endedUnix } });
  await inForce(rule("mine", 1, "size > 0"));
  // What PostgreSQL says of a number that was taken since the transaction looked; a race cannot be lost three times on demand.
  await withClient(fixture.database.superuserUrl, async (client) => {
    await client.query(`CREATE FUNCTION lose_race() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE unique_violation USING TABLE = 'tier_plan', MESSAGE = 'lost'; END $$`);
    await client.query("CREATE TRIGGER lose_race BEFORE INSERT ON tier_plan FOR EACH ROW EXECUTE FUNCTION lose_race()");
    try {
      await expect(plan("outrun")).rejects.toMatchObject({ code: "ABORTED", reason: "PLAN_RUNNING", retryDelayMs: 5000 });
    } finally {
      await client.query("DROP FUNCTION lose_race CASCADE");
    }
  });
});

test("a plan that another one overtook begins again, and counts what that one left", async () => {
  const shareId = await createShare(fixture, "overtaken", { scanned: { files: 10, bytes: 10_000n, endedUnix } });
  const id = await addFile(fixture, { shareId }, "/a");
  await addFile(fixture, { shareId }, "/b");
  await inForce(rule("mine", 1, "size > 0"));
  await withClient(fixture.database.superuserUrl, async (client) => {
    await client.query("BEGIN");
    await client.query(
      `INSERT INTO tier_plan (tenant_id, share_id, plan_no, request_id, scan_id, now_unix, planned_by, brake_confirmed, planned_files, planned_bytes,
         planned_allocated_bytes, funnel) SELECT $1, $2, 1, gen_random_uuid(), last_complete_scan_id, 0, 'x', false, 1, 0, 0, '{}' FROM share WHERE share_id = $2`,
      [fixture.tenant.tenantId, shareId],
    );
    await client.query(
      `INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, wanted_action, planned_by) VALUES ($1, $2, $3, 's3://x', 'PLANNED', 'STUB', 'x')`,
      [fixture.tenant.tenantId, shareId, id],
    );
    const overtaken = plan("overtaken");
    await expect
      .poll(() => fixture.look("SELECT FROM pg_stat_activity WHERE wait_event = 'transactionid' AND query LIKE 'INSERT INTO tier_plan%'"))
      .toHaveLength(1);
    await client.query("COMMIT");
    expect((await overtaken).plan).toMatchObject({ planNo: 2, funnel: { planned: { files: "1" }, excluded: { tiered: { files: "1" } } } });
  });
});

test("a file that was planned before is planned anew: its object stays, what was known of the time before does not", async () => {
  const shareId = await createShare(fixture, "again", { scanned: { files: 10, bytes: 10_000n, endedUnix } });
  const id = await addFile(fixture, { shareId }, "/a", { frn: 77 });
  const [before] = await fixture.look<{ tier_id: string }>(
    `INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, planned_by, stub_size_bytes, state_reason, attempts, rehydration_count, resident_until_utc)
     VALUES ($1, $2, $3, 's3://old', 'REHYDRATED', 'x', 1, 'why', 3, 2, to_timestamp($4::bigint)) RETURNING tier_id`,
    [fixture.tenant.tenantId, shareId, id, nowUnix],
  );
  await inForce(rule("mine", 1, "size > 0"));
  const { plan: made } = await plan("again");
  const [after] = await fixture.look(
    `SELECT tier_id, state, wanted_action, target_uri, plan_id, rule_version, planned_size_bytes, planned_mtime_unix, planned_frn, stub_size_bytes, state_reason, attempts,
       rehydration_count, (SELECT string_agg(concat_ws(' ', l.kind, l.old_state, l.new_state, l.source), ';') FROM audit_log l WHERE l.file_current_id = t.file_current_id) AS log
     FROM tier_object t WHERE file_current_id = $1`,
    [id],
  );
  expect(after).toEqual({
    tier_id: before?.tier_id,
    state: "PLANNED",
    wanted_action: "STUB",
    target_uri: "s3://cold/mine",
    plan_id: String(made.planId),
    rule_version: expect.any(Number),
    planned_size_bytes: "1000",
    planned_mtime_unix: String(nowUnix - 1_000_000n),
    planned_frn: "77",
    stub_size_bytes: null,
    state_reason: null,
    attempts: 0,
    rehydration_count: 2,
    log: "tier REHYDRATED PLANNED plan",
  });
});

test("holds fold case where names do, letters beyond ASCII too", async () => {
  const shareId = await createShare(fixture, "folding", { caseSensitive: false, scanned: { files: 10, bytes: 10_000n, endedUnix } });
  for (const path of ["/ÜBUNG/Größe.TXT", "/übung/a", "/Übung.txt", "/deep/X/Keep.mov", "/deep/keep.mov2"])
    await addFile(fixture, { shareId, caseSensitive: false }, path);
  for (const pathGlob of ["/Übung/**", "/**/KEEP.*v"])
    await addHold(fixture.pool, fixture.tenant.tenantId, fixture.keyId, { shareName: "folding", pathGlob, reason: "x" });
  await inForce(rule("mine", 1, "size > 0"));
  const { funnel } = await preview("folding");
  expect([funnel.excluded.get("held")?.files, funnel.planned.files]).toEqual([3n, 2n]);
});

test("a comparison tells what is newly planned and what no longer, caps included", async () => {
  await generateShare(fixture, "compared", 5000, 0.25);
  await inForce(rule("a", 1, `last_used < now - duration("365d")`, { max_files: 500 }), rule("b", 2, "size > 10 * MB"));
  const candidate = {
    rules: [rule("a", 1, `last_used < now - duration("100d")`, { max_files: 700, order: "largest" }), rule("c", 3, "size > 0")],
    retireOthers: false,
  };
  const comparison = await compareRules(fixture.pool, fixture.tenant.tenantId, {
    shareName: "compared",
    candidate,
    sampleSize: 3,
    nowUnix,
  });
  const before = (await preview("compared")).funnel;
  const after = (await previewPlan(fixture.pool, fixture.tenant.tenantId, { shareName: "compared", candidate, sampleSize: 1, nowUnix }))
    .funnel;
  const { both, newlyPlanned, noLongerPlanned, differences } = comparison;
  expect(both.files + noLongerPlanned.files).toBe(before.planned.files);
  expect(both.files + newlyPlanned.files).toBe(after.planned.files);
  expect(both.bytes + newlyPlanned.bytes).toBe(after.planned.bytes);
  expect(newlyPlanned.files > 0n && noLongerPlanned.files > 0n).toBe(true);
  const kinds = differences.map(({ before: old, after: now }) => `${old?.name} ${now?.name}`);
  expect(kinds.sort()).toEqual(["a undefined", "b a", "b undefined", "undefined a", "undefined c"]);
  expect(differences.every(({ sample }) => sample.length > 0 && sample.length <= 3)).toBe(true);
  const all = await compareRules(fixture.pool, fixture.tenant.tenantId, {
    shareName: "compared",
    candidate: { rules: [], retireOthers: true },
    sampleSize: 1,
    nowUnix,
  });
  expect([all.both.files, all.newlyPlanned.files, all.noLongerPlanned.files]).toEqual([0n, 0n, before.planned.files]);
});

test("a planned file still matches until its values, its rule's word on them, or a hold says otherwise; the rule may be retired meanwhile", async () => {
  const { pool, tenant, keyId } = fixture;
  const shareId = await createShare(fixture, "claimed", { scanned: { files: 10, bytes: 10_000n, endedUnix } });
  const ids: bigint[] = [];
  for (const path of ["/a", "/read", "/Hold/a", "/linked"]) ids.push(await addFile(fixture, { shareId }, path));
  await inForce(rule("mine", 1, `last_used < now - duration("1d") && tier_state == "" && share == "claimed"`));
  await plan("claimed");
  await deleteRule(pool, tenant.tenantId, keyId, "mine", undefined);
  const objects = await fixture.look<{ tier_id: string }>("SELECT tier_id FROM tier_object WHERE share_id = $1 ORDER BY file_current_id", [
    shareId,
  ]);
  const tierIds = objects.map(({ tier_id }) => BigInt(tier_id));
  const matching = async () =>
    (await inTenant(pool, tenant.tenantId, (client) => stillMatches(client, tenant.tenantId, tierIds)))
      .map((tierId) => tierIds.indexOf(tierId))
      .sort();
  // By the server's clock, which is behind the one that the files are made for.
  await fixture.look("UPDATE file_current SET atime_unix = 1700000000, mtime_unix = 1700000000 WHERE share_id = $1", [shareId]);
  expect(await matching()).toEqual([0, 1, 2, 3]);
  await fixture.look("UPDATE file_current SET atime_unix = extract(epoch FROM now())::bigint WHERE file_current_id = $1", [ids[1]]);
  await fixture.look("UPDATE file_current SET link_count = 2 WHERE file_current_id = $1", [ids[3]]);
  await addHold(pool, tenant.tenantId, keyId, { shareName: "claimed", pathGlob: "/Hold/**", reason: "x" });
  expect(await matching()).toEqual([0]);
});
