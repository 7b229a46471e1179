/** Random sets of rules: what is planned is what the CEL library, and sums in this process, say of each file. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { applyRuleSet } from "../src/planner/apply-rules.js";
import { checkExpression, evaluate, type FileValues } from "../src/planner/cel/index.js";
import { planShare } from "../src/planner/plan.js";
import { previewPlan } from "../src/planner/preview.js";
import { byPriority, type RuleSpec } from "../src/planner/rule.js";
import { ruleOrders } from "../src/planner/rule-settings.js";
import { generateShare, nowUnix, type PlannerFixture, plannerFixture, rule } from "./support/planner.js";
import { type Random, seededRandom } from "./support/random.js";

const rounds = 12;
const filesPerShare = 1500;
let fixture: PlannerFixture;
beforeAll(async () => {
  fixture = await plannerFixture();
});
afterAll(() => fixture.close());

const parts = [
  "size > 1 * MB",
  "size < 64 * KB",
  `last_used < now - duration("400d")`,
  `now - mtime > duration("1000d")`,
  `atime > mtime`,
  `extension in ["mov", "txt"]`,
  `extension == ""`,
  `glob(path, "/Archive/**")`,
  `dir.contains("Project 1")`,
  `owner != "alice"`,
  `tier_state == ""`,
  `!path.startsWith("/Übung")`,
];

function randomRule(random: Random, i: number): RuleSpec {
  const expression = random
    .shuffle(parts)
    .slice(0, random.between(1, 3))
    .join(random.pick([" && ", " || "]));
  return rule(`rule-${i}`, random.between(0, 3), expression, {
    order: random.pick(ruleOrders),
    max_files: random.pick([null, null, 1, random.between(1, 200)]),
    max_bytes: random.pick([null, null, random.between(1, 2 ** 20), random.between(2 ** 20, 2 ** 36)]),
  });
}

interface StoredFile extends FileValues {
  id: bigint;
  free: boolean;
}

async function filesOf(shareId: bigint, shareName: string): Promise<StoredFile[]> {
  const rows = await fixture.look<Record<string, string> & { free: boolean }>(
    `SELECT c.file_current_id AS id, d.dir_path AS dir, c.name, c.file_extension AS extension, coalesce(c.owner, '') AS owner, coalesce(c.size_bytes, 0) AS size,
       coalesce(c.atime_unix, 0) AS atime, coalesce(c.mtime_unix, 0) AS mtime, coalesce(c.ctime_unix, 0) AS ctime, coalesce(t.state, '') AS tier_state,
       c.missing_since_scan_id IS NULL AND c.metadata_complete AND NOT c.stale_metadata AND coalesce(c.link_count, 1) = 1
         AND (t.tier_id IS NULL OR t.state IN ('REHYDRATED', 'DELETED') AND t.wanted_action IS NULL
           AND (t.state = 'DELETED' OR t.resident_until_utc <= to_timestamp($2::bigint))) AS free
     FROM file_current c JOIN dir d USING (tenant_id, dir_id) LEFT JOIN tier_object t USING (tenant_id, file_current_id) WHERE c.share_id = $1`,
    [shareId, nowUnix],
  );
  return rows.map(({ id, dir, name, extension, owner, size, atime, mtime, ctime, tier_state, free }) => {
    const [read, written] = [BigInt(atime as string), BigInt(mtime as string)];
    return {
      ...({ dir, name, extension, owner, tier_state } as Pick<FileValues, "dir" | "name" | "extension" | "owner" | "tier_state">),
      id: BigInt(id as string),
      share: shareName,
      path: `${dir}/${name}`,
      size: BigInt(size as string),
      atime: read,
      mtime: written,
      ctime: BigInt(ctime as string),
      last_used: read > written ? read : written,
      free,
    };
  });
}

/** In this process: the first rule that matches, its order, its caps. `rule name id`, sorted. */
function plannedHere(rules: RuleSpec[], files: StoredFile[]): string[] {
  const left = new Map(files.filter(({ free }) => free).map((file) => [file.id, file]));
  return [...rules]
    .sort(byPriority)
    .flatMap(({ name, expression, settings }) => {
      const compiled = checkExpression(expression);
      const own = [...left.values()].filter((file) => evaluate(compiled, file, nowUnix));
      for (const { id } of own) left.delete(id);
      const key = {
        coldest: (file: StoredFile) => file.last_used,
        largest: (file: StoredFile) => -file.size,
        oldest: (file: StoredFile) => file.mtime,
      }[settings.order];
      const before = (a: StoredFile, b: StoredFile) => (key(a) === key(b) ? Number(a.id - b.id) : Number(key(a) - key(b)));
      const most = settings.max_bytes === null ? undefined : BigInt(settings.max_bytes);
      let sum = 0n;
      return own
        .filter(({ size }) => most === undefined || size <= most)
        .sort(before)
        .slice(0, settings.max_files ?? undefined)
        .filter(({ size }) => {
          sum += size;
          return most === undefined || sum <= most;
        })
        .map(({ id }) => `${name} ${id}`);
    })
    .sort();
}

test(`${rounds} random sets of rules over random files`, { timeout: 120_000 }, async () => {
  const random = seededRandom();
  const { pool, tenant, keyId, look } = fixture;
  let total = 0;
  for (let round = 0; round < rounds; round += 1) {
    const shareName = `share ${round}`;
    const shareId = await generateShare(fixture, shareName, filesPerShare, random.next());
    const rules = Array.from({ length: random.between(1, 7) }, (_, i) => randomRule(random, i));
    await applyRuleSet(pool, tenant.tenantId, keyId, { rules, retireOthers: true }, undefined);
    const expected = plannedHere(rules, await filesOf(shareId, shareName));
    const { funnel } = await previewPlan(pool, tenant.tenantId, { shareName, sampleSize: 10, nowUnix });
    const request = { shareName, requestId: randomUUID(), confirmBrake: false, nowUnix };
    const { plan } = await planShare(pool, tenant.tenantId, keyId, request);
    const written = await look<{ line: string }>(
      "SELECT concat(r.rule_name, ' ', t.file_current_id) AS line FROM tier_object t JOIN tier_rule r USING (tenant_id, rule_id) WHERE t.plan_id = $1",
      [plan.planId],
    );
    expect(written.map(({ line }) => line).sort(), JSON.stringify(rules)).toEqual(expected);
    expect(funnel.planned.files).toBe(BigInt(expected.length));
    total += expected.length;
  }
  expect(total).toBeGreaterThan(rounds * 10);
});
