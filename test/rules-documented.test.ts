/** docs/rules.md: its file of rules is one, its table has every field and default, and it names every step and refusal there is. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { reasonName } from "../src/cli/funnel-lines.js";
import { readRulesFile } from "../src/cli/rules-file.js";
import { packageRoot } from "../src/db/embedded.js";
import { checkExpression } from "../src/planner/cel/index.js";
import { exclusionReasons } from "../src/planner/classify.js";
import { holdsOfShareAtMost } from "../src/planner/held.js";
import { rulesInForceAtMost } from "../src/planner/rule.js";
import { defaultRuleSettings } from "../src/planner/rule-settings.js";
import { exclusionReason } from "../src/rpc/funnel.js";
import { fromRuleSet } from "../src/rpc/rule-spec.js";
import { markdownTables } from "./support/markdown.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";

let page: string;
let scratch: Scratch;
beforeAll(async () => {
  page = await fs.readFile(path.join(packageRoot, "docs", "rules.md"), "utf8");
  scratch = await scratchDirectory();
});
afterAll(() => scratch.remove());

async function rulesOf(text: string) {
  const file = path.join(scratch.path, "rules.yaml");
  await fs.writeFile(file, text);
  return fromRuleSet((await readRulesFile(file, false)).ruleSet)?.rules ?? [];
}

function column(title: string): string[][] {
  return markdownTables(page).find((table) => table.columns[0] === title)?.rows ?? [];
}

test("the file that it shows says what it says, with the defaults for the rest", async () => {
  const example = /```yaml\n([^`]+)```/.exec(page)?.[1] as string;
  const [cold, old, ...more] = await rulesOf(example);
  expect(more).toEqual([]);
  for (const rule of [cold, old]) expect(() => checkExpression(rule?.expression as string)).not.toThrow();
  expect(cold?.settings).toEqual({
    share_names: ["films"],
    order: "coldest",
    max_files: 100_000,
    max_bytes: 20 * 1024 ** 4,
    max_scan_age_seconds: 2 * 86_400,
    brake_percent: 20,
    warming: { action: "rehydrate", accesses: 3, window_seconds: 12 * 3600 },
    residency_seconds: 7 * 86_400,
    backoff_factor: 2,
    max_residency_seconds: 90 * 86_400,
  });
  expect(old).toMatchObject({ name: "old", description: "", priority: 100, enabled: true, settings: defaultRuleSettings });
});

test("the table has every field: the defaults that it gives are those that hold", async () => {
  const rows = column("field");
  const written = rows.map(([field, , fallback]) => [field?.replaceAll("`", ""), fallback?.replaceAll("`", "")]);
  const fallbacks = Object.fromEntries(written);
  expect(fallbacks).toMatchObject({ name: "needed", priority: "needed", expression: "needed", target: "needed" });
  const byDefault = await rulesOf(`rules:
  - name: x
    priority: 1
    expression: size > 0
    target: s3://x
    enabled: ${fallbacks.enabled}
    shares: ${fallbacks.shares}
    order: ${fallbacks.order}
    max_scan_age: ${fallbacks.max_scan_age}
    brake_percent: ${fallbacks.brake_percent}
    warming: ${flow(["action", "accesses", "window"], fallbacks.warming)}
    residency: ${flow(["first", "backoff_factor", "longest"], fallbacks.residency)}
`);
  expect(byDefault).toEqual(await rulesOf("rules: [{ name: x, priority: 1, expression: size > 0, target: 's3://x' }]"));
  const fields = ["name", "description", "priority", "enabled", "shares", "expression", "target", "order", "caps.files, caps.bytes"];
  expect(written.map(([field]) => field)).toEqual([...fields, "max_scan_age", "brake_percent", "warming", "residency"]);
});

/** `alert, 1, 1d` as a map of YAML. */
function flow(names: string[], values: string | undefined): string {
  return `{ ${(values ?? "")
    .split(", ")
    .map((value, i) => `${names[i]}: ${value}`)
    .join(", ")} }`;
}

test("it names every step of the funnel in its order, every refusal, and the limit", () => {
  const steps = column("step").map(([step]) => step);
  const reasons = exclusionReasons.map((reason) => reasonName(exclusionReason[reason]));
  expect(steps).toEqual(["matched", ...reasons, "taken by a rule before", "beyond caps", "planned"]);
  expect(column("refused with").map(([reason]) => reason)).toEqual(
    ["NO_RULES", "NO_COMPLETE_SCAN", "SCAN_TOO_OLD", "PLAN_BRAKE", "PLAN_RUNNING"].map((reason) => `\`${reason}\``),
  );
  expect(page).toContain(`At most ${rulesInForceAtMost} rules are in force.`);
  expect(page).toContain(`A share has at most ${holdsOfShareAtMost} holds.`);
});
