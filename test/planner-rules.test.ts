/** Rules are applied all or nothing, once, and by one operator at a time. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { applyRuleSet, deleteRule, previewRuleSet } from "../src/planner/apply-rules.js";
import { getRule, listRulesInForce, listVersions } from "../src/planner/read-rules.js";
import { type RuleSpec, rulesInForceAtMost } from "../src/planner/rule.js";
import { createShare, type PlannerFixture, plannerFixture, rule } from "./support/planner.js";

let fixture: PlannerFixture;
beforeAll(async () => {
  fixture = await plannerFixture();
  await createShare(fixture, "films");
});
afterAll(() => fixture.close());

function apply(rules: RuleSpec[], { retireOthers = false, etag }: { retireOthers?: boolean; etag?: string } = {}) {
  return applyRuleSet(fixture.pool, fixture.tenant.tenantId, fixture.keyId, { rules, retireOthers }, etag);
}

async function inForce(): Promise<string[]> {
  const { rules } = await listRulesInForce(fixture.pool, fixture.tenant.tenantId);
  return rules.map(({ name, version }) => `${name} ${version}`);
}

test("a rule that says the same keeps its version; a changed one is a new one; a retired name counts on", async () => {
  const { tenantId } = fixture.tenant;
  const first = await apply([rule("b", 1, "size > 0"), rule("a", 1, "size > 0"), rule("c", 0, "size > 0")]);
  expect(first.changes.map(({ kind }) => kind)).toEqual(["added", "added", "added"]);
  expect(await inForce()).toEqual(["c 1", "a 1", "b 1"]);
  const same = await apply([rule("a", 1, "size > 0")]);
  expect(same).toMatchObject({ changes: [{ kind: "unchanged" }, { kind: "unchanged" }, { kind: "unchanged" }], etag: first.etag });
  const changed = await apply([rule("a", 1, "size > 1", { brake_percent: 7 })], { retireOthers: true });
  expect(changed.changes).toMatchObject([
    { kind: "changed", fields: ["expression", "brake_percent"] },
    { kind: "retired" },
    { kind: "retired" },
  ]);
  await apply([rule("b", 1, "size > 0")]);
  expect(await inForce()).toEqual(["a 2", "b 2"]);
  expect(await getRule(fixture.pool, tenantId, "a", 1)).toMatchObject({
    expression: "size > 0",
    retiredBy: expect.stringContaining(fixture.keyId),
  });
  expect(await getRule(fixture.pool, tenantId, "a", 0)).toMatchObject({ version: 2, retiredUtc: null });
  await expect(getRule(fixture.pool, tenantId, "c", 0)).rejects.toMatchObject({ code: "NOT_FOUND" });
  const pages = await listVersions(fixture.pool, tenantId, "", undefined, 3);
  expect(pages.rules.map(({ name, version }) => `${name} ${version}`)).toEqual(["b 2", "a 2", "c 1"]);
  const rest = await listVersions(fixture.pool, tenantId, "", pages.rules.at(-1)?.ruleId, 3);
  expect(rest.rules.map(({ name, version }) => `${name} ${version}`).sort()).toEqual(["a 1", "b 1"]);
});

test("of one bad rule nothing is applied", async () => {
  const before = await inForce();
  const bad: [RuleSpec, Record<string, string>][] = [
    [rule("x", 1, "size >\n  nothing"), { rule: "x", field: "expression", line: "2", column: "3" }],
    [rule("x", 1, "size > 0", { share_names: ["films", "none"] }), { field: "share_names" }],
    [rule("x", 1, "size > 0", { max_files: 0 }), { field: "max_files" }],
    [rule("x", 1, "size > 0", { max_bytes: 2 ** 53 }), { field: "max_bytes" }],
    [rule("x", 1, "size > 0", { brake_percent: 101 }), { field: "brake_percent" }],
    [rule("x", 1, "size > 0", { residency_seconds: 10, max_residency_seconds: 9 }), { field: "max_residency_seconds" }],
    [rule("x", 1, "size > 0", { backoff_factor: 0.5 }), { field: "backoff_factor" }],
    [rule("x", 1, "size > 0", { backoff_factor: Number.NaN }), { field: "backoff_factor" }],
    [{ ...rule("x", 1, "size > 0"), targetUri: "no uri" }, { field: "target_uri" }],
    [rule("", 1, "size > 0"), { field: "name" }],
    [rule("good", 1, "size > 0"), { field: "name", rule: "good" }],
  ];
  for (const [spec, metadata] of bad) {
    const attempt = apply([rule("good", 1, "size > 0"), spec], { retireOthers: true });
    await expect(attempt, spec.expression).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_RULE", metadata });
  }
  const many = Array.from({ length: rulesInForceAtMost + 1 }, (_, i) => rule(`many ${i}`, 1, "size > 0"));
  await expect(apply(many)).rejects.toMatchObject({ reason: "INVALID_RULE" });
  expect(await inForce()).toEqual(before);
});

test("who saw other rules than are in force changes nothing; a call whose answer was lost may be repeated", async () => {
  const { pool, tenant, keyId } = fixture;
  const { etag } = await previewRuleSet(pool, tenant.tenantId, { rules: [], retireOthers: false });
  const mine = [rule("mine", 1, "size > 0")];
  await apply(mine, { etag });
  await expect(apply([rule("theirs", 1, "size > 0")], { etag })).rejects.toMatchObject({ code: "ABORTED", reason: "RULES_CHANGED" });
  await expect(deleteRule(pool, tenant.tenantId, keyId, "mine", etag)).rejects.toMatchObject({ code: "ABORTED" });
  await apply(mine, { etag });
  expect(await inForce()).toContain("mine 1");

  const now = (await listRulesInForce(pool, tenant.tenantId)).etag;
  const racing = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => apply([rule("raced", i, "size > 0")], { etag: now })));
  expect(racing.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  await Promise.all(Array.from({ length: 8 }, (_, i) => apply([rule("raced", 100 + i, "size > 0")])));
  expect(await inForce()).toContain("raced 9");
  expect(await deleteRule(pool, tenant.tenantId, keyId, "raced", undefined)).toBe((await listRulesInForce(pool, tenant.tenantId)).etag);
  await expect(deleteRule(pool, tenant.tenantId, keyId, "raced", undefined)).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("the runtime role cannot change what a version says", async () => {
  const { pool, tenant } = fixture;
  const client = await pool.connect();
  try {
    await client.query(`BEGIN; SET LOCAL app.tenant_id = '${tenant.tenantId}'`);
    await expect(client.query("UPDATE tier_rule SET expression = 'true'")).rejects.toMatchObject({ code: "42501" });
  } finally {
    client.release(true);
  }
});
