/** What the inventory says of a real tree is what an independent program finds there. */
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeAwkwardTree, manyFiles } from "./support/awkward-tree.js";
import { frostline, jsonLines } from "./support/command.js";
import { withClient } from "./support/postgres.js";
import { expectedProblems, type Problem, problemLines, split } from "./support/refusals.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { startTestServer, type TestServer } from "./support/server.js";
import type { Scope } from "./support/tenant.js";
import {
  difference,
  findTree,
  findUnreadable,
  hasGnuFind,
  type ListedFile,
  listedLines,
  settle,
  type Witness,
  witnessLines,
} from "./support/witness.js";

interface ScanJson {
  scanId: string;
  status: string;
  counts: Record<"files" | "directories" | "added" | "changed" | "removed" | "moved" | "refused" | "unreadableDirectories", string>;
}

const none = { unexpected: [], lacking: [] };
let server: TestServer;
let scratch: Scratch;
let before: Witness;

beforeAll(async () => {
  if (!hasGnuFind()) return;
  scratch = await scratchDirectory();
  server = await startTestServer();
  makeAwkwardTree(scratch.path);
  settle(scratch.path);
  before = await findTree(scratch.path);
});
afterAll(async () => {
  await server?.close();
  // Node's own rm cannot follow the long paths.
  if (scratch !== undefined) execFileSync("rm", ["-rf", scratch.path]);
});

/** Runs a command; `expected` is its exit status. */
async function run<T>(scope: Scope, args: string[], expected: number): Promise<T[]> {
  const env = { FROSTLINE_SERVER: server.address, FROSTLINE_KEY: server.keys[scope] };
  const { status, stdout, stderr } = await frostline([...args, "--json"], { env });
  expect(status, stderr).toBe(expected);
  return jsonLines<T>(stdout);
}

async function scan(root: string, share: string, expected: number, ...options: string[]): Promise<ScanJson> {
  const [scanned] = await run<ScanJson>("agent", ["scan", root, "--share", share, "--no-default-excludes", ...options], expected);
  return scanned as ScanJson;
}

const list = (share: string) => run<ListedFile>("reader", ["ls", "--share", share], 0);
const problemsOf = (scanId: string) => run<Problem>("reader", ["problems", scanId], 0);

/** Every version of every row: an update, even one that changes nothing, would show. */
async function rowVersions(): Promise<{ files: string; versions: string; history: string }> {
  const { rows } = await withClient(server.database.superuserUrl, (client) =>
    client.query(
      `SELECT count(*) AS files, sum(hashtextextended(format('%s %s %s %s', tableoid, ctid, xmin, file_current_id), 0)) AS versions,
         (SELECT count(*) FROM file) AS history FROM file_current`,
    ),
  );
  return rows[0];
}

describe.skipIf(!hasGnuFind())("a tree of everything that listings get wrong", { timeout: 120_000 }, () => {
  test("the tree is as awkward as it should be", () => {
    const lengths = before.files.map(({ path }) => path.length);
    expect(lengths.some((bytes) => bytes > 2704 && bytes < 4096)).toBe(true);
    expect(lengths.filter((bytes) => bytes > 4096).length).toBeGreaterThan(5);
    expect(before.files.filter(({ path }) => path.toString().startsWith("/many/"))).toHaveLength(manyFiles);
    expect(before.files.filter(({ linkCount }) => linkCount > 1n)).toHaveLength(6);
    expect(before.files.some(({ mtimeUnix }) => mtimeUnix < 0n)).toBe(true);
    expect(before.files.some(({ mtimeUnix }) => mtimeUnix >= 2n ** 31n)).toBe(true);
    expect(before.files.some(({ sizeBytes, allocatedBytes }) => sizeBytes === 2n ** 40n && allocatedBytes < 1_000_000n)).toBe(true);
  });

  test("as LucidLink: ls lists what find finds, refused is what is no text; a rescan writes nothing", async () => {
    const first = await scan(scratch.path, "awkward", 3, "--type", "LucidLink");
    const expected = witnessLines(before.files);
    expect(difference(listedLines(await list("awkward")), expected)).toEqual({ found: expected.length, ...none });
    const refused = problemLines(expectedProblems(before, "LucidLink"));
    expect(difference(problemLines(await problemsOf(first.scanId)), refused)).toEqual({ found: 4 + 8, ...none });
    expect(first.counts).toMatchObject({ files: String(expected.length), refused: "12", unreadableDirectories: "0" });

    const versions = await rowVersions();
    expect(versions).toMatchObject({ files: String(expected.length), history: String(expected.length) });
    const second = await scan(scratch.path, "awkward", 3);
    expect(difference(witnessLines((await findTree(scratch.path)).files), expected)).toMatchObject(none);
    expect(second.counts).toMatchObject({ files: String(expected.length), added: "0", changed: "0", removed: "0", moved: "0" });
    expect(await rowVersions()).toEqual(versions);
  });

  test("as SMB: names with a backslash are refused too, and of two directories that differ in case one", async () => {
    const first = await scan(scratch.path, "windows", 3, "--type", "SMB");
    const second = ["/kinds/case", "/names-of-directories/upper.txt"];
    const kept = before.files.filter(({ path }) => !path.includes("\\") && !second.includes(split(path)[0].toString()));
    const listed = (await list("windows")).map((file) => ({ ...file, path: file.path.replaceAll("\\", "/") }));
    const expected = witnessLines(kept);
    expect(difference(listedLines(listed), expected)).toEqual({ found: expected.length, ...none });
    const found = await problemsOf(first.scanId);
    const twice = found.filter(({ dirPath }) => second.includes(dirPath));
    const reason = expect.stringMatching(/^listing refused: .*(before|twice)$/);
    expect(twice).toMatchObject(second.map((dirPath) => ({ dirPath, name: "", reason })));
    const refused = problemLines(expectedProblems(before, "SMB"));
    expect(difference(problemLines(found.filter((problem) => !twice.includes(problem))), refused)).toEqual({
      found: 4 + 8 + 2 + 2,
      ...none,
    });
  });
});

describe.skipIf(!hasGnuFind())("/usr", { timeout: 300_000 }, () => {
  test("ls lists what find finds, and the scan refused what it must", async () => {
    // Other processes may change it: until it is the same before and after.
    for (let attempt = 1; ; attempt++) {
      const earlier = await findTree("/usr");
      const problems = expectedProblems(earlier, "LucidLink");
      const unreadable = findUnreadable("/usr");
      const { scanId, counts } = await scan("/usr", "usr", problems.length + unreadable.length > 0 ? 3 : 0);
      const listed = listedLines(await list("usr"));
      const later = await findTree("/usr");
      const changed = difference(witnessLines(later.files), witnessLines(earlier.files));
      if (attempt < 5 && changed.unexpected.length + changed.lacking.length > 0) continue;
      const expected = witnessLines(earlier.files);
      expect(difference(listed, expected)).toEqual({ found: expected.length, ...none });
      const found = await problemsOf(scanId);
      expect(difference(problemLines(found.filter((problem) => !problem.unreadable)), problemLines(problems))).toMatchObject(none);
      const unread = found.filter((problem) => problem.unreadable).map(({ dirPath }) => dirPath);
      expect(unread.sort()).toEqual(unreadable.sort());
      expect(counts).toMatchObject({ files: String(expected.length), unreadableDirectories: String(unreadable.length) });
      break;
    }
  });
});

describe.skipIf(!hasGnuFind())("after all of it", () => {
  test("verify finds nothing", async () => {
    const { status, stdout, stderr } = await frostline(["verify", "--json"], { env: { DATABASE_URL: server.database.runtimeUrl } });
    expect({ status, stdout }, stderr).toEqual({ status: 0, stdout: "" });
  });
});
