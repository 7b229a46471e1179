/** `frostline tier`, as people and scripts use it. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { frostline, jsonLines } from "./support/command.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import type { Scope } from "./support/tenant.js";
import { withTierServer } from "./support/tier-server.js";

const tier = withTierServer();
let scratch: Scratch;
beforeAll(async () => {
  scratch = await scratchDirectory();
});
afterAll(() => scratch?.remove());

type Json = Record<string, unknown>;

async function run(scope: Scope, args: string[], expected = 0, json = true): Promise<{ lines: Json[]; stdout: string; stderr: string }> {
  const env = { FROSTLINE_SERVER: tier.server.address, FROSTLINE_KEY: tier.server.keys[scope] };
  const { status, stdout, stderr } = await frostline(["tier", ...args, ...(json ? ["--json"] : [])], { env });
  expect(status, stderr).toBe(expected);
  return { lines: json ? jsonLines<Json>(stdout) : [], stdout, stderr };
}

test("claim, report, list, rehydrate, cancel and delete-target", async () => {
  const [first, second] = (await tier.insert(2, { state: "PLANNED", wanted: "STUB" })).map(String) as [string, string];
  const claims = (await run("agent", ["claim", "STUB", "--holder", "by hand", "--limit", "2", "--share", "films"])).lines;
  expect(claims).toMatchObject([
    { tierId: first, path: "/f1", action: "TIER_ACTION_STUB", planned: { sizeBytes: "1000" } },
    { tierId: second, path: "/f2" },
  ]);

  const stamp = { sizeBytes: "1000", mtimeUnix: "1600000000" };
  const stubbed = { seen: stamp, stub: { sizeBytes: "120", mtimeUnix: "1600000000" }, objectUri: "file:///cold/1" };
  const reports = [
    { tierId: first, leaseToken: claims[0]?.leaseToken, stubbed },
    { tierId: second, leaseToken: "another", failed: { reason: "disk full" } },
  ];
  const file = path.join(scratch.path, "reports.jsonl");
  await fs.writeFile(file, `${reports.map((report) => JSON.stringify(report)).join("\n")}\n\n`);
  // One was refused.
  expect((await run("agent", ["report", file], 3)).lines).toMatchObject([
    { tierId: first, code: "TIER_REPORT_CODE_ACCEPTED", state: "TIER_STATE_STUBBED" },
    { tierId: second, code: "TIER_REPORT_CODE_LEASE_LOST", state: "TIER_STATE_PLANNED" },
  ]);

  expect((await run("reader", ["list", "--state", "STUBBED"])).lines).toMatchObject([
    { tierId: first, shareName: "films", objectUri: "file:///cold/1" },
  ]);
  expect((await run("reader", ["--wanted", "STUB", "--share", "films"])).lines).toMatchObject([{ tierId: second, leaseHolder: "by hand" }]);
  expect((await run("reader", ["list", "--rule", "none"])).lines).toEqual([]);
  const { stdout } = await run("reader", ["list", "--limit", "1"], 0, false);
  expect(stdout).toMatch(/^ID +STATE +WANTED +SIZE +SINCE +HOLDER +PATH +REASON\n *\d+ +STUBBED +- +1000 B .* films: \/f1\n$/);

  expect((await run("operator", ["rehydrate", "/f1", "--share", "films", "--reason", "wanted"])).lines).toMatchObject([
    { tierId: first, wantedAction: "TIER_ACTION_REHYDRATE", stateReason: "wanted" },
  ]);
  expect((await run("operator", ["cancel", first])).lines).toMatchObject([{ tierId: first, wantedAction: "TIER_ACTION_UNSPECIFIED" }]);
  expect((await run("operator", ["rehydrate", "--id", first])).lines).toMatchObject([
    { tierId: first, wantedAction: "TIER_ACTION_REHYDRATE" },
  ]);
  // Its copy is the only one.
  expect((await run("operator", ["delete-target", first], 1)).stderr).toContain("its copy is needed");
  await tier.look("UPDATE tier_object SET state = 'REHYDRATED', wanted_action = NULL WHERE tier_id = $1", [first]);
  expect((await run("operator", ["delete-target", first])).lines).toMatchObject([
    { wantedAction: "TIER_ACTION_DELETE_TARGET", rehydrationCount: 0 },
  ]);
});

test("pages: every object once, whatever the page's size", async () => {
  await tier.insert(2500, { state: "STUBBED", wanted: null, objectUri: "file:///cold" });
  const ids = (await run("reader", ["list", "--state", "STUBBED"])).lines.map(({ tierId }) => Number(tierId));
  expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b));
  expect(ids).toHaveLength(2500);
});

test("what is wrong is told before anything is asked", async () => {
  for (const args of [
    ["rehydrate"],
    ["rehydrate", "/f1"],
    ["rehydrate", "/f1", "--share", "films", "--id", "1"],
    ["cancel", "x"],
    ["claim", "STUB"],
    ["claim", "COPY", "--holder", "x"],
  ])
    await run("operator", args, 2);
  const bad = path.join(scratch.path, "bad.jsonl");
  await fs.writeFile(bad, '{"tierId": "1"}\n{"tier": 1}\n');
  expect((await run("agent", ["report", bad], 2)).stderr).toContain("line 2");
  expect((await run("agent", ["report", path.join(scratch.path, "none")], 2)).stderr).toContain("cannot be read");
});
