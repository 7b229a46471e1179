/** What scans say of a real tree that changes between them. */
import * as fs from "node:fs";
import * as path from "node:path";
import { setImmediate } from "node:timers/promises";
import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { FileInfoSchema, FileService } from "../src/gen/frostline/v1/file_pb.js";
import { makeChangingTree } from "./support/changing-tree.js";
import { type CommandOptions, frostline, jsonLines } from "./support/command.js";
import { seededRandom } from "./support/random.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { startTestServer, type TestServer } from "./support/server.js";
import type { Scope } from "./support/tenant.js";
import { difference, findTree, hasGnuFind, type ListedFile, listedLines, witnessLines } from "./support/witness.js";

interface ScanJson {
  scanId: string;
  counts: Record<string, string>;
}
/** All that `ls --json` prints of a file. */
type FileJson = ListedFile & JsonObject;

const none = { unexpected: [], lacking: [] };
let server: TestServer;
let scratch: Scratch;

beforeAll(async () => {
  scratch = await scratchDirectory();
  fs.chmodSync(scratch.path, 0o755);
  server = await startTestServer();
});
afterAll(async () => {
  await server?.close();
  await scratch?.remove();
});

/** Runs a command; `expected` is its exit status. */
async function run<T>(scope: Scope, args: string[], expected: number, options: CommandOptions = {}): Promise<T[]> {
  const env = { FROSTLINE_SERVER: server.address, FROSTLINE_KEY: server.keys[scope] };
  const { status, stdout, stderr } = await frostline([...args, "--json"], { ...options, env });
  expect(status, stderr).toBe(expected);
  return jsonLines<T>(stdout);
}

async function scan(root: string, share: string, expected = 0): Promise<ScanJson> {
  const [scanned] = await run<ScanJson>("agent", ["scan", root, "--share", share], expected, { unprivileged: true });
  return scanned as ScanJson;
}

const list = (share: string) => run<FileJson>("reader", ["ls", "--share", share], 0);

async function expectInvariants(): Promise<void> {
  const { status, stdout, stderr } = await frostline(["verify", "--json"], { env: { DATABASE_URL: server.database.runtimeUrl } });
  expect({ status, stdout }, stderr).toEqual({ status: 0, stdout: "" });
}

describe.skipIf(!hasGnuFind())("a tree that changes", { timeout: 120_000 }, () => {
  test("known changes are reported, exactly those, and what was renamed keeps its identity", async () => {
    const root = path.join(scratch.path, "known");
    const at = (file: string) => path.join(root, file);
    let made = 0;
    // Sizes and times of their own: a new file often gets the number of one just deleted.
    const write = (...files: string[]) => {
      for (const file of files) {
        fs.mkdirSync(path.dirname(at(file)), { recursive: true });
        fs.writeFileSync(at(file), Buffer.alloc(++made, 1));
        fs.utimesSync(at(file), made, 1_000_000_000 + made);
      }
    };
    write("kept/a", "kept/b", "edited/content", "edited/time", "edited/mode", "edited/saved-anew", "deleted/gone", "deleted/stays");
    write("renamed/old", "from/moved", "to/other", "removed/1", "removed/2", "removed/sub/3");
    write("directory/4", "directory/5", "directory/sub/6", "locked/7", "locked/sub/8");
    const first = await scan(root, "known");
    expect(first.counts).toMatchObject({ files: "19", added: "19" });
    const before = new Map((await list("known")).map((file) => [file.path, file.fileId]));

    write("kept/new", "kept/deep/newer");
    fs.appendFileSync(at("edited/content"), "more");
    fs.utimesSync(at("edited/time"), 5, 5);
    // Only ctime tells, in whole seconds: until it is another second than the one in which the file was made.
    const ctimeSecond = () => Math.floor(fs.statSync(at("edited/mode")).ctimeMs / 1000);
    for (const madeIn = ctimeSecond(); ctimeSecond() === madeIn; await setImmediate()) fs.chmodSync(at("edited/mode"), 0o600);
    write("edited/saved-anew.part");
    fs.renameSync(at("edited/saved-anew.part"), at("edited/saved-anew"));
    fs.unlinkSync(at("deleted/gone"));
    fs.renameSync(at("renamed/old"), at("renamed/new"));
    fs.renameSync(at("from/moved"), at("to/moved here"));
    fs.rmSync(at("removed"), { recursive: true });
    fs.renameSync(at("directory"), at("directory renamed"));
    const truth = await findTree(root);
    fs.chmodSync(at("locked"), 0);

    const second = await scan(root, "known", 3);
    fs.chmodSync(at("locked"), 0o755);
    // Saved anew is another file under the name of one that went.
    const counts = { added: "3", changed: "3", removed: "5", moved: "5", refused: "0", unreadableDirectories: "1" };
    expect(second.counts).toMatchObject(counts);
    const problems = await run("reader", ["problems", second.scanId], 0);
    expect(problems).toMatchObject([{ dirPath: "/locked", name: "", unreadable: true, reason: expect.stringContaining("EACCES") }]);
    const after = await list("known");
    expect(difference(listedLines(after), witnessLines(truth.files))).toMatchObject(none);

    const changes = await run<{ change: string; file: FileJson }>("reader", ["diff", first.scanId, second.scanId], 0);
    const removed = ["/deleted/gone", "/directory/4", "/directory/5", "/directory/sub/6", "/from/moved", "/removed/1", "/removed/2"];
    const added = ["/directory renamed/4", "/directory renamed/5", "/directory renamed/sub/6", "/kept/deep/newer", "/kept/new"];
    expect(changes.map(({ change, file }) => `${change.replace("FILE_CHANGE_", "")} ${file.path}`).sort()).toEqual(
      [
        ...[...added, "/renamed/new", "/to/moved here"].map((file) => `ADDED ${file}`),
        ...["/edited/content", "/edited/mode", "/edited/saved-anew", "/edited/time"].map((file) => `CHANGED ${file}`),
        ...[...removed, "/removed/sub/3", "/renamed/old"].map((file) => `REMOVED ${file}`),
      ].sort(),
    );

    const earlierPath = (file: string) =>
      ({ "/renamed/new": "/renamed/old", "/to/moved here": "/from/moved" })[file] ?? file.replace("/directory renamed/", "/directory/");
    const sameFile = after.filter((file) => before.get(earlierPath(file.path)) === file.fileId).map((file) => file.path);
    const otherFiles = ["/edited/saved-anew", "/kept/deep/newer", "/kept/new"];
    expect(
      after
        .map((file) => file.path)
        .filter((file) => !sameFile.includes(file))
        .sort(),
    ).toEqual(otherFiles);

    const third = await scan(root, "known");
    expect(third.counts).toMatchObject({ added: "0", changed: "0", removed: "0", moved: "0", unreadableDirectories: "0" });
    await expectInvariants();
  });

  test("ten scans: every listing, every snapshot and the diff of every pair", async () => {
    const random = seededRandom();
    const root = path.join(scratch.path, "random");
    fs.mkdirSync(root);
    const tree = makeChangingTree(root, random);
    await run("operator", ["share", "create", "random", "--type", "LucidLink", "--brake-percent", "100"], 0);
    const scans: { scanId: string; files: FileJson[] }[] = [];
    for (let round = 0; round < 10; round++) {
      for (let i = random.between(0, 25); i > 0 && round > 0; i--) tree.change();
      const truth = await findTree(root);
      const refused = truth.files.filter(({ path: file }) => file.includes(0xff)).length;
      const { scanId } = await scan(root, "random", refused > 0 ? 3 : 0);
      const files = await list("random");
      expect(difference(listedLines(files), witnessLines(truth.files)), `round ${round}`).toMatchObject(none);
      scans.push({ scanId, files });
    }
    expectIdentities(scans.map(({ files }) => files));
    for (const { scanId, files } of scans) {
      const snapshot = await run<FileJson>("reader", ["snapshot", scanId], 0);
      expect(byPath(snapshot), `scan ${scanId}`).toEqual(byPath(files));
    }
    const client = createClient({ server: server.address, key: server.keys.reader });
    for (const [i, from] of scans.entries()) {
      for (const to of scans.slice(i)) {
        const changes = client.serverStream(FileService.method.streamDiff, {
          fromScanId: BigInt(from.scanId),
          toScanId: BigInt(to.scanId),
        });
        const found: Change[] = [];
        for await (const { differences } of changes) {
          for (const { change, file } of differences) {
            if (file === undefined) throw new Error("a difference without a file");
            found.push([change, toJson(FileInfoSchema, file, { alwaysEmitImplicit: true }) as FileJson]);
          }
        }
        expect(comparable(found), `scans ${from.scanId} and ${to.scanId}`).toEqual(comparable(compare(from.files, to.files)));
      }
    }
    client.close();
    await expectInvariants();
  });
});

/** As FileChange numbers them: 1 added, 2 changed, 3 removed. */
type Change = [number, FileJson];

function compare(from: FileJson[], to: FileJson[]): Change[] {
  const earlier = byPath(from);
  const later = byPath(to);
  const values = (file: FileJson) => JSON.stringify({ ...file, fileId: undefined });
  return [
    ...to.filter((file) => !earlier.has(file.path)).map((file): Change => [1, file]),
    ...to
      .filter((file) => earlier.has(file.path) && values(earlier.get(file.path) as FileJson) !== values(file))
      .map((file): Change => [2, file]),
    ...from.filter((file) => !later.has(file.path)).map((file): Change => [3, file]),
  ];
}

/** A removed file comes with its last values, which a scan in between may have seen: its path alone is compared. */
function comparable(changes: Change[]): [string, number, FileJson | undefined][] {
  return changes
    .map(([change, file]): [string, number, FileJson | undefined] => [file.path, change, change === 3 ? undefined : file])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

function byPath(files: FileJson[]): Map<string, FileJson> {
  return new Map(files.map((file) => [file.path, file]));
}

/** What has one name in both listings, and the same number, size and mtime, is one file, wherever it went. */
function expectIdentities(listings: FileJson[][]): void {
  let moved = 0;
  for (const [i, files] of listings.entries()) {
    const earlier = new Map((listings[i - 1] ?? []).filter(hasOneName).map((file) => [sameness(file), file]));
    for (const file of files.filter(hasOneName)) {
      const before = earlier.get(sameness(file));
      if (before === undefined) continue;
      if (before.path !== file.path) moved += 1;
      expect(file.fileId, `${before.path}, now ${file.path}, in listing ${i}`).toBe(before.fileId);
    }
  }
  expect(moved).toBeGreaterThan(0);
}

function hasOneName(file: FileJson): boolean {
  return file.linkCount === "1";
}

function sameness(file: FileJson): string {
  return [file.frn, file.sizeBytes, file.mtimeUnix].join(" ");
}
