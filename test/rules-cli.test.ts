/** Rules, holds, preview, comparison, explanation and plan as an operator runs them, over a directory that is really there. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packageRoot } from "../src/db/embedded.js";
import { type CommandResult, frostline, jsonLines } from "./support/command.js";
import { withClient } from "./support/postgres.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { startTestServer, type TestServer } from "./support/server.js";
import type { Scope } from "./support/tenant.js";

interface TotalsJson {
  files: string;
  bytes: string;
}
interface RuleFunnelJson {
  ruleName: string;
  matched: TotalsJson;
  excluded: { reason: string; totals: TotalsJson }[];
  taken: TotalsJson;
  capped: TotalsJson;
  planned: TotalsJson;
  sample?: { path: string }[];
}
interface FunnelJson {
  planned: TotalsJson;
  rules: RuleFunnelJson[];
}

const share = "src";
let server: TestServer;
let scratch: Scratch;
/** A copy of this program's source, so that nobody changes it meanwhile. */
let root: string;

beforeAll(async () => {
  scratch = await scratchDirectory();
  root = path.join(scratch.path, "source");
  await fs.cp(path.join(packageRoot, "src"), root, { recursive: true, preserveTimestamps: true });
  server = await startTestServer();
  const scan = await as("agent", ["scan", root, "--share", share]);
  expect(scan.status, scan.stderr).toBe(0);
});
afterAll(async () => {
  await server?.close();
  await scratch?.remove();
});

function as(scope: Scope, args: string[]): Promise<CommandResult> {
  return frostline(args, { env: { FROSTLINE_SERVER: server.address, FROSTLINE_KEY: server.keys[scope] } });
}

async function write(name: string, text: string): Promise<string> {
  const file = path.join(scratch.path, name);
  await fs.writeFile(file, text);
  return file;
}

const good = `rules:
  - name: generated
    priority: 10
    shares: [src]
    # Written by the compiler of the contract.
    expression: |
      glob(path, "/gen/**")
        && size > 0
    target: s3://cold/generated
    brake_percent: 100
    caps: { files: 3 }
    order: largest
  - name: large
    priority: 20
    expression: size >= 8 * KB
    target: s3://cold/large
    brake_percent: 100
    warming: { action: rehydrate, accesses: 3, window: 12h }
    residency: { first: 2d, longest: 4w }
`;

test("faults of a file are told with line and column, whoever finds them", async () => {
  const cases: [string, string, string][] = [
    ["syntax", good.replace("  - name: large", "  - name: [large"), ":"],
    ["unknown", good.replace("order: largest", "sorted: largest"), ":12:5: rules.0: sorted is no field here"],
    ["missing", good.replace("    priority: 10\n", ""), ":2:5: rules.0.priority: is missing"],
    ["type", good.replace("files: 3", "files: three"), ":11:20: rules.0.caps.files: must be a whole number"],
    ["size", good.replace("files: 3", "bytes: 10TB"), ":11:20: rules.0.caps.bytes: must be a whole number of bytes, or a size"],
    ["duration", good.replace("12h", "half a day"), ":18:56: rules.1.warming.window: must be a duration such as 90d, 12h or 2w"],
    ["literal", good.replace("&& size > 0", '&& size > "0"'), ":8:19: "],
    ["plain", good.replace("size >= 8 * KB", "size >= eight"), ":15:25: "],
    ["share", good.replace("[src]", "[scr]"), ':4:13: Rule "generated", share_names: there is no share named "scr"'],
    ["cap", good.replace("files: 3", "files: 0"), ':11:20: Rule "generated", max_files: is 0; it must be a whole number from 1'],
    ["target", good.replace("s3://cold/large", "large"), ':16:13: Rule "large", target_uri: must be a URI'],
    ["twice", good.replace("name: large", "name: generated"), 'Rule "generated", name: comes twice'],
  ];
  for (const [name, text, expected] of cases) {
    const file = await write(`${name}.yaml`, text);
    const { status, stdout, stderr } = await as("operator", ["rules", "apply", file, "--yes"]);
    expect(stderr, name).toContain(`${file}`);
    expect(stderr, name).toContain(expected);
    expect({ name, status, stdout }).toEqual({ name, status: 2, stdout: "" });
  }
  expect(jsonLines((await as("reader", ["rules", "list", "--json"])).stdout)).toEqual([]);
});

test("apply shows a diff, asks where somebody can be asked, and does nothing the second time", async () => {
  const file = await write("rules.yaml", good);
  const asked = await as("operator", ["rules", "apply", file]);
  expect(asked).toMatchObject({ status: 2, stderr: expect.stringContaining("--yes") });
  const dry = await as("operator", ["rules", "apply", file, "--dry-run"]);
  expect(dry).toMatchObject({ status: 0, stderr: "2 added.\n" });
  expect(dry.stdout).toContain("+ rule generated\n");
  expect(dry.stdout).toContain('+   expression:\n+     glob(path, "/gen/**")\n+       && size > 0\n');
  expect(jsonLines((await as("reader", ["rules", "--json"])).stdout)).toEqual([]);

  expect(await as("operator", ["rules", "apply", file, "--yes"])).toMatchObject({
    status: 0,
    stdout: dry.stdout,
    stderr: "Applied: 2 added.\n",
  });
  expect(await as("operator", ["rules", "apply", file, "--yes"])).toMatchObject({ status: 0, stdout: "", stderr: "2 unchanged.\n" });

  const changed = await write("changed.yaml", good.replace("accesses: 3", "accesses: 4").replace("priority: 10", "priority: 11"));
  const { stdout, stderr } = await as("operator", ["rules", "apply", changed, "--yes"]);
  expect(stderr).toBe("Applied: 2 changed.\n");
  expect(stdout).toContain("  rule large\n-   warming.accesses: 3\n+   warming.accesses: 4\n");
  await as("operator", ["rules", "apply", file, "--yes"]);
  const versions = jsonLines<{ version: number; spec: { name: string }; retireTime?: string }>(
    (await as("reader", ["rules", "list", "--all", "--json"])).stdout,
  );
  expect(versions.map(({ spec, version, retireTime }) => `${spec.name} ${version} ${retireTime === undefined}`)).toEqual([
    "large 3 true",
    "generated 3 true",
    "large 2 false",
    "generated 2 false",
    "large 1 false",
    "generated 1 false",
  ]);
  const [shown] = jsonLines<object>((await as("reader", ["rules", "show", "large", "--rule-version", "2"])).stdout);
  expect(shown).toMatchObject({
    version: 2,
    createdBy: expect.stringMatching(/^test operator \(/),
    spec: {
      warming: { action: "WARMING_ACTION_REHYDRATE", accesses: 4, windowSeconds: "43200" },
      residencySeconds: "172800",
      maxResidencySeconds: "2419200",
    },
  });
  expect(await as("reader", ["rules", "apply", file, "--yes"])).toMatchObject({ status: 1, stderr: expect.stringContaining("operator") });
});

test("preview, plan, and a walk of the directory agree", async () => {
  await as("operator", ["rules", "apply", await write("rules.yaml", good), "--yes", "--retire-others"]);
  expect(await as("operator", ["holds", "add", "/cli/**", "--share", share, "--reason", "being edited"])).toMatchObject({ status: 0 });
  const files = await walk("");
  const generated = files.filter((file) => file.path.startsWith("/gen/") && file.size > 0);
  const large = files.filter(({ size }) => size >= 8192);
  const held = large.filter(({ path: name }) => name.startsWith("/cli/"));
  const taken = large.filter((file) => generated.includes(file));
  const own = large.filter((file) => !held.includes(file) && !taken.includes(file));
  const three = generated.sort((a, b) => b.size - a.size).slice(0, 3);
  expect([held, taken, own, three].every((part) => part.length > 0)).toBe(true);

  const human = await as("reader", ["preview", "--share", share]);
  expect(human).toMatchObject({ status: 0, stderr: "" });
  expect(human.stdout).toMatch(/large v\d+\s+matched\s+\d/);
  expect(human.stdout).toMatch(/\n\s+held\s+\d/);
  const [preview] = jsonLines<{ funnel: FunnelJson; refusals: object[] }>(
    (await as("reader", ["preview", "--share", share, "--json"])).stdout,
  );
  expect(preview?.refusals).toEqual([]);
  const [first, second] = (preview?.funnel.rules ?? []) as [RuleFunnelJson, RuleFunnelJson];
  expect(first).toMatchObject({ ruleName: "generated", matched: sums(generated), excluded: [], planned: sums(three) });
  expect(first.capped.files).toBe(String(generated.length - 3));
  expect(second).toMatchObject({
    matched: sums(large),
    excluded: [{ reason: "EXCLUSION_REASON_HELD", totals: sums(held) }],
    taken: sums(taken),
    planned: sums(own),
  });
  expect(own.map((file) => file.path)).toEqual(expect.arrayContaining((second.sample ?? []).map((file) => file.path)));

  const requestId = "7d3ee80f-31dd-4a36-9bd6-2f7d5b1d3a11";
  const plan = await as("operator", ["plan", "--share", share, "--request-id", requestId, "--json"]);
  expect(plan.status, plan.stderr).toBe(0);
  const [planned] = jsonLines<{ plan: { planNo: number; funnel: FunnelJson }; repeatedRequest: boolean }>(plan.stdout);
  const counts = ({ ruleName, matched, excluded, taken, capped, planned }: RuleFunnelJson) => ({
    ruleName,
    matched,
    excluded,
    taken,
    capped,
    planned,
  });
  expect(planned?.plan.funnel.rules.map(counts)).toEqual(preview?.funnel.rules.map(counts));
  const stored = await withClient(server.database.superuserUrl, (client) =>
    client.query<{ path: string }>(
      `SELECT CASE d.dir_path WHEN '/' THEN '' ELSE d.dir_path END || '/' || c.name AS path FROM tier_object t
       JOIN file_current c USING (tenant_id, file_current_id) JOIN dir d USING (tenant_id, dir_id) WHERE t.state = 'PLANNED'`,
    ),
  );
  expect(stored.rows.map((row) => row.path).sort()).toEqual([...own, ...three].map((file) => file.path).sort());

  const again = await as("operator", ["plan", "--share", share, "--request-id", requestId, "--json"]);
  expect(jsonLines<object>(again.stdout)).toEqual([{ ...planned, repeatedRequest: true }]);
  const next = await as("operator", ["plan", "--share", share, "--json"]);
  const tiered = jsonLines<{ plan: { planNo: number; funnel: FunnelJson } }>(next.stdout)[0]?.plan;
  expect(tiered?.planNo).toBe(2);
  expect(tiered?.funnel.rules[0]?.excluded).toMatchObject([{ reason: "EXCLUSION_REASON_TIERED", totals: sums(three) }]);
  const plans = jsonLines<{ planNo: number }>((await as("reader", ["plans", "--share", share, "--json"])).stdout);
  expect(plans.map(({ planNo }) => planNo)).toEqual([2, 1]);

  const explained = await as("reader", ["explain", held[0]?.path as string, "--share", share]);
  expect(explained.status).toBe(0);
  expect(explained.stdout).toContain("! held: Held by /cli/**.");
  expect(explained.stdout).toMatch(
    /large v\d+: matches, but a condition stands in the way\n {2}\+ 1:1 {2}size >= 8 \* KB {4}\[size = \d+\]/,
  );
});

test("compare and preview show what a file of rules would change, and change nothing", async () => {
  const before = jsonLines((await as("reader", ["rules", "list", "--json"])).stdout);
  const wider = await write(
    "wider.yaml",
    `rules:\n  - { name: all, priority: 99, expression: size > 0, target: "s3://cold/all", brake_percent: 100 }\n`,
  );
  const [compared] = jsonLines<{
    both: TotalsJson;
    newlyPlanned: TotalsJson;
    noLongerPlanned: TotalsJson;
    differences: { afterRuleName: string }[];
  }>((await as("reader", ["compare", wider, "--share", share, "--json"])).stdout);
  const [previewed] = jsonLines<{ funnel: FunnelJson }>(
    (await as("reader", ["preview", "--share", share, "--rules", wider, "--json"])).stdout,
  );
  const all = previewed?.funnel.rules.find(({ ruleName }) => ruleName === "all");
  expect(compared?.newlyPlanned.files).toBe(all?.planned.files);
  expect(compared?.noLongerPlanned.files).toBe("0");
  const replaced = await as("reader", ["compare", wider, "--share", share, "--retire-others"]);
  expect(replaced.stdout).toMatch(/newly planned\s+\d/);
  expect(await as("reader", ["compare", await write("bad.yaml", "rules: 3"), "--share", share])).toMatchObject({ status: 2 });
  expect(jsonLines((await as("reader", ["rules", "list", "--json"])).stdout)).toEqual(before);
});

test("holds are listed and removed; rules are retired", async () => {
  const [hold] = jsonLines<{ holdId: string; pathGlob: string; reason: string }>((await as("reader", ["holds", "--json"])).stdout);
  expect(hold).toMatchObject({ pathGlob: "/cli/**", reason: "being edited" });
  expect(await as("operator", ["holds", "add", "cli/**", "--share", share, "--reason", "x"])).toMatchObject({ status: 1 });
  expect(await as("operator", ["holds", "remove", hold?.holdId as string])).toMatchObject({ status: 0, stderr: "Removed.\n" });
  expect((await as("operator", ["holds", "remove", hold?.holdId as string])).stderr).toContain(`There is no hold ${hold?.holdId}`);
  expect(await as("operator", ["rules", "retire", "large"])).toMatchObject({ status: 0 });
  expect(await as("operator", ["rules", "retire", "generated"])).toMatchObject({ status: 0 });
  const refused = await as("operator", ["plan", "--share", share]);
  expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining("No rule is in force") });
  expect(await as("reader", ["preview", "--share", share])).toMatchObject({
    status: 3,
    stderr: expect.stringContaining("would be refused"),
  });
});

interface WalkedFile {
  path: string;
  size: number;
}

async function walk(dir: string): Promise<WalkedFile[]> {
  const entries = await fs.readdir(path.join(root, dir), { withFileTypes: true });
  const nested = entries.map(async (entry) => {
    const name = `${dir}/${entry.name}`;
    return entry.isDirectory() ? walk(name) : [{ path: name, size: (await fs.stat(path.join(root, name))).size }];
  });
  return (await Promise.all(nested)).flat();
}

function sums(files: WalkedFile[]): TotalsJson {
  return expect.objectContaining({ files: String(files.length), bytes: String(files.reduce((sum, { size }) => sum + size, 0)) });
}
