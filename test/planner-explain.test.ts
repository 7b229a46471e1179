/** Explain, for files just inside and just outside each condition; and a plan does what it says. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { applyRuleSet } from "../src/planner/apply-rules.js";
import type { ExplainedTerm } from "../src/planner/cel/index.js";
import { type Explanation, explainFile } from "../src/planner/explain.js";
import { addHold } from "../src/planner/holds.js";
import { planShare } from "../src/planner/plan.js";
import { addFile, createShare, nowUnix, type PlannerFixture, plannerFixture, rule } from "./support/planner.js";

const shareName = "films";
const scanned = { files: 1000, bytes: 10n ** 15n, endedUnix: nowUnix - 60n };
const day = 86_400n;
let fixture: PlannerFixture;
let shareId: bigint;

const rules = [
  rule("media", 10, `size > 10 * MB && now - last_used > duration("90d") && extension in ["mov", "mxf"] && !glob(path, "/Active/**")`),
  rule("old", 20, `mtime < timestamp("2020-01-01T00:00:00Z") || owner == "alice"`, { max_files: 1 }),
  rule("elsewhere", 5, "size >= 0", { share_names: ["other"] }),
  { ...rule("disabled", 1, "size >= 0"), enabled: false },
];
/** Of a file that "media" takes, by one second and one byte. */
const inside = { size_bytes: 10 * 1024 * 1024 + 1, atime_unix: nowUnix - 90n * day - 1n, mtime_unix: nowUnix - 100n * day };

beforeAll(async () => {
  fixture = await plannerFixture();
  shareId = await createShare(fixture, shareName, { scanned });
  await createShare(fixture, "other");
  const { pool, tenant, keyId } = fixture;
  await applyRuleSet(pool, tenant.tenantId, keyId, { rules, retireOthers: false }, undefined);
  await addHold(pool, tenant.tenantId, keyId, { shareName, pathGlob: "/Held/**", reason: "in use" });
  await addHold(pool, tenant.tenantId, keyId, { shareName, pathGlob: "/**/keep-?.mov", reason: "in use" });
});
afterAll(() => fixture.close());

function explain(path: string): Promise<Explanation> {
  return explainFile(fixture.pool, fixture.tenant.tenantId, { shareName, path, nowUnix });
}

function verdicts({ rules: all }: Explanation): Record<string, string> {
  return Object.fromEntries(all.map(({ rule: { name }, verdict }) => [name, verdict]));
}

/** The terms that do not hold, as they are written. */
function failing(explanation: Explanation, name: string): string[] {
  const tests = (term: ExplainedTerm): ExplainedTerm[] => (term.terms.length === 0 ? [term] : term.terms.flatMap(tests));
  const terms = explanation.rules.find((one) => one.rule.name === name)?.terms as ExplainedTerm;
  return tests(terms)
    .filter(({ outcome }) => !("holds" in outcome && outcome.holds))
    .map(({ text }) => text);
}

function obstacles({ conditions }: Explanation): string[] {
  return conditions.filter(({ passed }) => !passed).map(({ reason }) => reason);
}

test("each term of a rule, just inside and just outside", async () => {
  await addFile(fixture, { shareId }, "/Films/in.mov", inside);
  const taken = await explain("/Films/in.mov");
  expect(verdicts(taken)).toEqual({ disabled: "not_applied", elsewhere: "not_applied", media: "planned", old: "not_matched" });
  expect(failing(taken, "media")).toEqual([`glob(path, "/Active/**")`]);
  expect(taken.rules.map(({ rule: { name } }) => name)).toEqual(["disabled", "elsewhere", "media", "old"]);

  const outside: [string, object, string[]][] = [
    ["/Films/size.mov", { size_bytes: 10 * 1024 * 1024 }, ["size > 10 * MB"]],
    ["/Films/read.mov", { atime_unix: nowUnix - 90n * day }, [`now - last_used > duration("90d")`]],
    ["/Films/written.mov", { mtime_unix: nowUnix - 90n * day }, [`now - last_used > duration("90d")`]],
    ["/Films/in.mp4", {}, [`extension in ["mov", "mxf"]`]],
  ];
  for (const [path, columns, terms] of outside) {
    await addFile(fixture, { shareId }, path, { ...inside, ...columns });
    const explanation = await explain(path);
    expect(verdicts(explanation).media, path).toBe("not_matched");
    expect(failing(explanation, "media"), path).toEqual([...terms, `glob(path, "/Active/**")`]);
    expect(obstacles(explanation), path).toEqual([]);
  }
  await addFile(fixture, { shareId }, "/Active/in.mov", inside);
  const active = await explain("/Active/in.mov");
  expect(verdicts(active).media).toBe("not_matched");
  // Nothing below `!` fails: it is the negation that does.
  expect(failing(active, "media")).toEqual([]);
  expect(active.rules.find((one) => one.rule.name === "media")?.terms.terms.at(-1)).toMatchObject({
    kind: "not",
    outcome: { holds: false },
  });
  await addFile(fixture, { shareId }, "/Active.mov", inside);
  expect(verdicts(await explain("/Active.mov")).media).toBe("planned");

  await addFile(fixture, { shareId }, "/Films/older.txt", { mtime_unix: 1_577_836_799 });
  await addFile(fixture, { shareId }, "/Films/newer.txt", { mtime_unix: 1_577_836_800 });
  expect(verdicts(await explain("/Films/older.txt")).old).toBe("planned");
  expect(failing(await explain("/Films/newer.txt"), "old")).toEqual([`mtime < timestamp("2020-01-01T00:00:00Z")`, `owner == "alice"`]);
  await addFile(fixture, { shareId }, "/Films/both.mov", { ...inside, owner: "alice" });
  expect(verdicts(await explain("/Films/both.mov"))).toMatchObject({ media: "planned", old: "taken" });
});

test("each other condition, just inside and just outside", async () => {
  const object = async (path: string, state: string, columns: { wanted?: string; resident?: bigint } = {}) => {
    const id = await addFile(fixture, { shareId }, path, inside);
    await fixture.look(
      `INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, wanted_action, planned_by, resident_until_utc, object_uri)
       VALUES ($1, $2, $3, 's3://x', $4, $5, 'test', to_timestamp($6::bigint), 's3://x/1')`,
      [fixture.tenant.tenantId, shareId, id, state, columns.wanted ?? null, columns.resident ?? null],
    );
  };
  const cases: [string, () => Promise<unknown>, string[]][] = [
    ["/C/missing.mov", () => addFile(fixture, { shareId }, "/C/missing.mov", { ...inside, missing_since_scan_id: 1 }), ["missing"]],
    [
      "/C/incomplete.mov",
      () => addFile(fixture, { shareId }, "/C/incomplete.mov", { ...inside, metadata_complete: false }),
      ["metadata_incomplete"],
    ],
    ["/C/stale.mov", () => addFile(fixture, { shareId }, "/C/stale.mov", { ...inside, stale_metadata: true }), ["metadata_stale"]],
    ["/C/two-names.mov", () => addFile(fixture, { shareId }, "/C/two-names.mov", { ...inside, link_count: 2 }), ["hard_links"]],
    ["/C/unknown-names.mov", () => addFile(fixture, { shareId }, "/C/unknown-names.mov", { ...inside, link_count: null }), []],
    ["/C/planned.mov", () => object("/C/planned.mov", "PLANNED", { wanted: "STUB" }), ["tiered"]],
    ["/C/stubbed.mov", () => object("/C/stubbed.mov", "STUBBED"), ["tiered"]],
    ["/C/resident.mov", () => object("/C/resident.mov", "REHYDRATED", { resident: nowUnix + 1n }), ["resident"]],
    ["/C/was-resident.mov", () => object("/C/was-resident.mov", "REHYDRATED", { resident: nowUnix }), []],
    ["/C/copy.mov", () => object("/C/copy.mov", "DELETED", { wanted: "DELETE_TARGET" }), ["target_pending"]],
    ["/C/deleted.mov", () => object("/C/deleted.mov", "DELETED"), []],
    ["/Held/a.mov", () => addFile(fixture, { shareId }, "/Held/a.mov", inside), ["held"]],
    ["/Held.mov", () => addFile(fixture, { shareId }, "/Held.mov", inside), []],
    ["/C/keep-1.mov", () => addFile(fixture, { shareId }, "/C/keep-1.mov", inside), ["held"]],
    ["/C/keep-11.mov", () => addFile(fixture, { shareId }, "/C/keep-11.mov", inside), []],
  ];
  for (const [path, make, expected] of cases) {
    await make();
    const explanation = await explain(path);
    expect(obstacles(explanation), path).toEqual(expected);
    expect(verdicts(explanation).media, path).toBe(expected.length === 0 ? "planned" : "excluded");
  }
  expect((await explain("/C/keep-1.mov")).conditions.at(-1)?.detail).toBe("Held by /**/keep-?.mov.");
  await expect(explain("/C/never.mov")).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(explain("/C/../x")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});

test("a plan takes exactly the files of which Explain says so, within caps", async () => {
  const { pool, tenant, keyId, look } = fixture;
  const files = await look<{ id: string; path: string }>(
    "SELECT c.file_current_id AS id, CASE d.dir_path WHEN '/' THEN '' ELSE d.dir_path END || '/' || c.name AS path FROM file_current c JOIN dir d USING (tenant_id, dir_id) WHERE c.share_id = $1",
    [shareId],
  );
  const expected = new Map<string, string>();
  for (const { id, path } of files) {
    const planned = (await explain(path)).rules.find(({ verdict }) => verdict === "planned");
    if (planned) expected.set(id, planned.rule.name);
  }
  const { plan } = await planShare(pool, tenant.tenantId, keyId, { shareName, requestId: randomUUID(), confirmBrake: false, nowUnix });
  const written = await look<{ id: string; name: string }>(
    "SELECT t.file_current_id AS id, r.rule_name AS name FROM tier_object t JOIN tier_rule r USING (tenant_id, rule_id) WHERE t.plan_id = $1",
    [plan.planId],
  );
  expect(written.filter(({ name }) => name === "old")).toHaveLength(1);
  const media = (entries: Iterable<[string, string]>) => [...entries].filter(([, name]) => name === "media").sort();
  expect(media(written.map(({ id, name }) => [id, name]))).toEqual(media(expected));
  for (const { id, name } of written) expect(expected.get(id)).toBe(name);
  expect(media(expected).length).toBeGreaterThan(6);
});
