/**
 * The whole story, on real files: scanned, planned, tiered, renamed, overwritten and deleted while tiered, read again, brought back,
 * left alone, and tiered once more. Everything is done with the command line and the reference mover, as operators would.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { violationsOf } from "./support/audited-share.js";
import { Filespace } from "./support/lifecycle.js";
import { seededRandom } from "./support/random.js";
import { openWatch } from "./support/watcher.js";

const daySeconds = 86_400;
const fileBytes = 40_000;
const takes = (dir: string, numbers: string) => [...numbers].map((no) => `/cold/${dir}/take ${no}.mov`);
const coldFiles = [...takes("a", "0123"), ...takes("b", "456"), ...takes("c", "7")];
const activeFiles = ["/active/now 0.mov", "/active/now 1.mov"];
const rules = `
rules:
  - name: cold footage
    priority: 10
    expression: path.startsWith("/cold/") && now - mtime > duration("180d")
    target: TARGET
    brake_percent: 100
    warming: { action: rehydrate, accesses: 2, window: 1h }
    residency: { first: 1h, backoff_factor: 3, longest: 10d }
`;
const unchanged = { added: "0", changed: "0", removed: "0", moved: "0" };
const nothing = { stubbed: 0, rehydrated: 0, targetsDeleted: 0, skipped: 0, failed: 0, lost: 0 };

interface TierLine {
  path: string;
  state: string;
  stateReason: string;
  wantedAction: string;
  accessCount: string;
}

interface Excluded {
  reason: string;
  totals: { files: string };
}

let filespace: Filespace;
beforeAll(async () => {
  filespace = await Filespace.open();
});
afterAll(async () => {
  await filespace?.close();
});

/** Tier objects by path, as `state`, and what is wanted where something is. */
async function tiers(): Promise<Record<string, string>> {
  const objects = await filespace.json<TierLine>("reader", "tier", "list", "--share", "films");
  const words = ({ state, wantedAction }: TierLine) =>
    state.replace("TIER_STATE_", "") + (wantedAction === "TIER_ACTION_UNSPECIFIED" ? "" : ` ${wantedAction.replace("TIER_ACTION_", "")}`);
  return Object.fromEntries(objects.map((object) => [object.path, words(object)]));
}

/** Sizes by path, as the inventory has them. */
async function sizes(): Promise<Record<string, number>> {
  const files = await filespace.json<{ path: string; sizeBytes: string }>("reader", "ls", "--share", "films");
  return Object.fromEntries(files.map(({ path: file, sizeBytes }) => [file, Number(sizeBytes)]));
}

async function preview(): Promise<{ planned: number; excluded: Record<string, number> }> {
  const [answer] = await filespace.json<{ funnel: { planned: { files: string }; excluded: Excluded[] } }>(
    "reader",
    "preview",
    "--share",
    "films",
  );
  const excluded =
    answer?.funnel.excluded.map(({ reason, totals }) => [reason.replace("EXCLUSION_REASON_", ""), Number(totals.files)]) ?? [];
  return { planned: Number(answer?.funnel.planned.files), excluded: Object.fromEntries(excluded.filter(([, files]) => files !== 0)) };
}

async function plan(): Promise<number> {
  const [made] = await filespace.json<{ plan: { funnel: { planned: { files: string } } } }>("operator", "plan", "--share", "films");
  return Number(made?.plan.funnel.planned.files);
}

/** What the file itself holds now. */
async function onDisk(file: string): Promise<{ bytes: number; sha256: string; mtimeMs: number }> {
  const content = await fs.readFile(filespace.at(file));
  const { mtimeMs } = await fs.stat(filespace.at(file));
  return { bytes: content.length, sha256: createHash("sha256").update(content).digest("hex"), mtimeMs };
}

/** Seconds from now until which the planner leaves the file alone, and how often it came back. */
async function residencyOf(name: string): Promise<{ seconds: number; times: number }> {
  const [row] = await filespace.look<{ seconds: number; times: number }>(
    `SELECT extract(epoch FROM t.resident_until_utc - now())::float8 AS seconds, t.rehydration_count AS times
     FROM tier_object t JOIN file_current c USING (tenant_id, file_current_id) WHERE t.tenant_id = $1 AND c.name = $2`,
    name,
  );
  return row as { seconds: number; times: number };
}

/** Two reads, which the rule asks for, by two people; the file comes back. */
async function readTwice(file: string): Promise<void> {
  await filespace.happen([
    { action: "FileRead", path: file, user: "ann", host: "edit-1" },
    { action: "FileRead", path: file, user: "carl", host: "edit-2" },
  ]);
}

test("a file's life: cold, tiered, read, brought back, left alone, and tiered again", { timeout: 240_000 }, async () => {
  const random = seededRandom();
  const yearAgo = new Date((Math.floor(Date.now() / 1000) - 400 * daySeconds) * 1000);
  for (const file of [...coldFiles, ...activeFiles]) {
    const content = Buffer.from(Array.from({ length: fileBytes }, () => random.between(0, 255)));
    await filespace.write(file, content, coldFiles.includes(file) ? yearAgo : new Date());
  }
  const original = Object.fromEntries(await Promise.all(coldFiles.map(async (file) => [file, await onDisk(file)] as const)));

  // Scan, rule, preview, plan.
  expect(await filespace.scan()).toEqual({ ...unchanged, added: "10" });
  await filespace.applyRules(rules);
  expect(await preview()).toEqual({ planned: 8, excluded: {} });
  expect(await tiers()).toEqual({});
  expect(await plan()).toBe(8);
  expect(await tiers()).toEqual(Object.fromEntries(coldFiles.map((file) => [file, "PLANNED STUB"])));

  // Claimed and stubbed. What the trail tells of the mover itself is nobody's access and no file's move.
  await filespace.run("operator", "exclusions", "add", "user", "mover");
  expect(await filespace.move()).toEqual({ ...nothing, stubbed: 8 });
  const deedsOfMover = coldFiles.flatMap((file, no) => [
    { action: "FileRead", path: file, user: "mover" },
    { action: "FileCreate", path: `/.frostline/${no}.stub`, user: "mover" },
    { action: "Move", path: `/.frostline/${no}.stub`, targetPath: file, user: "mover" },
  ]);
  expect(await filespace.happen(deedsOfMover)).toMatchObject({ excluded: "24", applied: "0", moved: "0", inserted: "0" });
  for (const file of coldFiles) expect((await onDisk(file)).bytes, file).toBeLessThan(2000);
  expect(await tiers()).toEqual(Object.fromEntries(coldFiles.map((file) => [file, "STUBBED"])));

  // Rescanned while stubbed: nothing is different, and sizes are those of the files.
  expect(await filespace.scan()).toEqual(unchanged);
  expect(await sizes()).toEqual(Object.fromEntries([...coldFiles, ...activeFiles].map((file) => [file, fileBytes])));
  expect(await preview()).toEqual({ planned: 0, excluded: { TIERED: 8 } });

  // A directory renamed, a stub overwritten, a stub deleted.
  await fs.rename(filespace.at("/cold/a"), filespace.at("/cold/z"));
  await fs.writeFile(filespace.at("/cold/c/take 7.mov"), "something new");
  await fs.rm(filespace.at("/cold/b/take 4.mov"));
  const deeds = await filespace.happen([
    { action: "Move", path: "/cold/a", targetPath: "/cold/z", user: "ann" },
    { action: "FileWritten", path: "/cold/c/take 7.mov", user: "bob" },
    { action: "FileDelete", path: "/cold/b/take 4.mov", user: "bob" },
  ]);
  expect(deeds).toMatchObject({ moved: "1", applied: "1", deleted: "1" });
  await filespace.scan();
  const there = [...takes("z", "0123"), ...takes("b", "56")];
  expect(await sizes()).toEqual(
    Object.fromEntries([...[...there, ...activeFiles].map((file) => [file, fileBytes] as const), ["/cold/c/take 7.mov", 13]]),
  );
  // The background jobs close what is gone.
  await expect.poll(tiers, { timeout: 20_000 }).toEqual({
    ...Object.fromEntries(there.map((file) => [file, "STUBBED"])),
    "/cold/c/take 7.mov": "REHYDRATED",
    "/cold/b/take 4.mov": "DELETED",
  });
  const [overwritten] = (await filespace.json<TierLine>("reader", "tier", "list", "--state", "REHYDRATED")) as [TierLine];
  expect(overwritten.stateReason).not.toBe("");
  expect(await filespace.move()).toEqual(nothing);

  // Reads arrive: told, counted, attributed, and the file is wanted back.
  const [warm] = there as [string];
  const watch = await openWatch({ server: filespace.server, tenant: filespace.server });
  await readTwice(warm);
  expect(await watch.nextNews()).toMatchObject({
    event: { path: warm, user: "ann", host: "edit-1", ruleName: "cold footage", sizeBytes: BigInt(fileBytes) },
  });
  expect(await watch.nextNews()).toMatchObject({ event: { path: warm, user: "carl", host: "edit-2" } });
  watch.close();
  const told = await filespace.json<{ path: string; user: string; inStorm: boolean }>(
    "reader",
    "warming",
    "list",
    "--share",
    "films",
    "--path",
    "/cold/z",
  );
  expect(told.map(({ path: file, user, inStorm }) => [file, user, inStorm])).toEqual([
    [warm, "ann", false],
    [warm, "carl", false],
  ]);
  const [wanted, ...others] = await filespace.json<TierLine>("reader", "tier", "list", "--wanted", "REHYDRATE");
  expect(others).toEqual([]);
  expect(wanted).toMatchObject({ path: warm, state: "TIER_STATE_STUBBED", accessCount: "2" });

  // Brought back as it was.
  expect(await filespace.move()).toEqual({ ...nothing, rehydrated: 1 });
  expect(await onDisk(warm)).toEqual(original["/cold/a/take 0.mov"]);
  expect((await tiers())[warm]).toBe("REHYDRATED");
  await filespace.scan();
  expect((await sizes())[warm]).toBe(fileBytes);

  // Left alone for its residency, then taken again.
  const first = await residencyOf("take 0.mov");
  expect(first.times).toBe(1);
  expect(first.seconds).toBeGreaterThan(3500);
  expect(first.seconds).toBeLessThanOrEqual(3600);
  expect(await preview()).toEqual({ planned: 0, excluded: { MISSING: 1, TIERED: 5, RESIDENT: 1 } });
  expect(await plan()).toBe(0);
  const [why] = await filespace.json<{ plannedRuleName: string; conditions: { reason: string; passed: boolean }[] }>(
    "reader",
    "explain",
    warm,
    "--share",
    "films",
  );
  expect(why?.plannedRuleName).toBe("");
  expect(why?.conditions.filter(({ passed }) => !passed).map(({ reason }) => reason)).toEqual(["EXCLUSION_REASON_RESIDENT"]);
  await residencyEnds("take 0.mov");
  expect(await plan()).toBe(1);
  expect((await tiers())[warm]).toBe("PLANNED STUB");
  expect(await filespace.move()).toEqual({ ...nothing, stubbed: 1 });
  expect((await onDisk(warm)).bytes).toBeLessThan(2000);

  // Needed again so soon, it stays three times as long.
  await readTwice(warm);
  expect(await filespace.move()).toEqual({ ...nothing, rehydrated: 1 });
  expect(await onDisk(warm)).toEqual(original["/cold/a/take 0.mov"]);
  const second = await residencyOf("take 0.mov");
  expect(second.times).toBe(2);
  expect(second.seconds).toBeGreaterThan(3 * 3500);

  expect(await filespace.scan()).toEqual(unchanged);
  expect(await violationsOf(filespace.server.database)).toEqual([]);
  // Nothing of the mover's is left on the share but its directory.
  expect(await fs.readdir(path.join(filespace.root, ".frostline"))).toEqual([]);
});

/** As if the hour were over: no test waits for that. */
async function residencyEnds(name: string): Promise<void> {
  await filespace.look(
    `UPDATE tier_object SET resident_until_utc = now() - interval '1 second'
     WHERE tenant_id = $1 AND file_current_id = (SELECT file_current_id FROM file_current WHERE tenant_id = $1 AND name = $2)`,
    name,
  );
}
