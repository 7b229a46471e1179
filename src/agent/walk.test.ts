import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Listing } from "./listing.js";
import { newWalkStats, type WalkOptions, walk } from "./walk.js";

const linux = process.platform === "linux";
const isRoot = process.getuid?.() === 0;
let top: string;
beforeAll(() => {
  top = fs.mkdtempSync(path.join(os.tmpdir(), "walk-"));
});
afterAll(() => execFileSync("rm", ["-rf", top]));

/** A directory of its own, with the files given by path and content. */
function tree(files: Record<string, string>): string {
  const root = fs.mkdtempSync(path.join(top, "t-"));
  for (const [name, content] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    if (!name.endsWith("/")) fs.writeFileSync(path.join(root, name), content);
    else fs.mkdirSync(path.join(root, name), { recursive: true });
  }
  return root;
}

async function all(root: string, options: WalkOptions = {}): Promise<Listing[]> {
  const listings: Listing[] = [];
  for await (const listing of walk(root, options)) listings.push(listing);
  return listings;
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");
const pathsOf = (listings: Listing[]) => listings.map((listing) => Buffer.from(listing.path).toString());
const namesOf = (listing: Listing | undefined) => listing?.files.map((file) => Buffer.from(file.name).toString()).sort();

/** One line a file, as `find -printf` would say it. */
function lines(listings: Listing[]): string[] {
  const found: string[] = [];
  for (const { path: directory, files } of listings) {
    const prefix = text(directory) === "/" ? "" : text(directory).slice(1);
    for (const f of files) {
      const where = prefix === "" ? text(f.name) : `${prefix}/${text(f.name)}`;
      found.push(
        [where, f.sizeBytes, f.mtimeUnix, f.atimeUnix, f.ctimeUnix, f.frn, (f.allocatedBytes ?? 0n) / 512n, f.linkCount, f.owner].join(
          "\0",
        ),
      );
    }
  }
  return found.sort();
}

/** GNU find, an independent witness. %T@ is seconds, a point, and the nanoseconds after them: the part before it is the floor. */
function linesByFind(root: string): string[] {
  const { stdout, stderr } = spawnSync("find", [".", "-type", "f", "-printf", "%P\\0%s\\0%T@\\0%A@\\0%C@\\0%i\\0%b\\0%n\\0%U\\0\\0\\0"], {
    cwd: root,
    encoding: "latin1",
    maxBuffer: 1 << 30,
  });
  // An ordinary user may not enter every directory of a system.
  const errors = stderr.split("\n").filter((line) => line !== "" && !line.endsWith("Permission denied"));
  if (errors.length > 0) throw new Error(errors.join("\n"));
  return stdout
    .split("\0\0\0")
    .slice(0, -1)
    .map((line) => line.replaceAll(/\0(-?\d+)\.\d+/g, "\0$1"))
    .sort();
}

describe.runIf(linux)("finds what find finds", () => {
  test("awkward names, times and sizes", async () => {
    const root = tree({
      "a/plain": "x",
      "a/new\nline": "",
      "a/tab\t": "",
      "a/back\\slash": "",
      "a/🦊": "fox",
      "b-c/x": "",
      "b/x": "",
      "empty/": "",
    });
    const long = "n".repeat(255);
    fs.writeFileSync(path.join(root, long), "");
    fs.writeFileSync(Buffer.concat([Buffer.from(`${root}/a/`), Buffer.from([0xff, 0xfe, 0x80])]), "not UTF-8");
    fs.linkSync(path.join(root, "a/plain"), path.join(root, "b/hard link"));
    fs.truncateSync(path.join(root, "b/x"), 2 ** 40);
    for (const [name, when] of [
      ["a/plain", "1960-01-01T00:00:00.5Z"],
      ["b/x", "2300-01-01T00:00:00.999999999Z"],
      ["b-c/x", "2001-01-01T00:00:00.999999999Z"],
      ["a/🦊", "1901-12-14T00:00:00Z"],
    ] as const) {
      execFileSync("touch", ["-d", when, path.join(root, name)]);
    }
    const found = await all(root);
    expect(lines(found)).toEqual(linesByFind(root));
    expect(pathsOf(found)).toEqual(["/", "/a", "/b", "/b-c", "/empty"]);
    expect(found.every((listing) => listing.complete && listing.unreadableReason === "")).toBe(true);
    const plain = found[1]?.files.find((file) => text(file.name) === "plain");
    expect(plain?.mtimeUnix).toBe(-315619200n);
  });

  test("times just before 1970", async () => {
    const root = tree({ f: "" });
    // Node's own utimes takes negative times for "now".
    execFileSync("touch", ["-a", "-d", "1969-12-31T23:59:59.5Z", path.join(root, "f")]);
    execFileSync("touch", ["-m", "-d", "1969-12-31T23:59:58.5Z", path.join(root, "f")]);
    const [file] = (await all(root))[0]?.files ?? [];
    expect(file?.atimeUnix).toBe(-1n);
    expect(file?.mtimeUnix).toBe(-2n);
  });

  test("paths longer than a system call takes", async () => {
    const root = tree({});
    const name = "d".repeat(200);
    // Made from inside: `mkdir -p` with the whole path would fail as well.
    execFileSync("bash", ["-c", `for i in $(seq 30); do mkdir ${name} && cd ${name} && echo $i > file; done`], { cwd: root });
    const found = await all(root);
    expect(found).toHaveLength(31);
    expect(found.at(-1)?.path.length).toBe(30 * 201);
    expect(lines(found)).toEqual(linesByFind(root));
    const hashed = await all(root, { hash: true });
    expect(hashed.at(-1)?.files[0]?.fileHash).toEqual(createHash("sha256").update("30\n").digest());
  });

  test("a directory with a backslash in its name is left out of a share that separates by them, also after a resumption", async () => {
    const root = tree({ "a/x": "", "b\\c/x": "", "b\\c/d/x": "", "e/x": "" });
    const found = await all(root, { backslashSeparates: true });
    expect(pathsOf(found)).toEqual(["/", "/a", "/e"]);
    expect(found[0]).toMatchObject({
      complete: true,
      leftOut: [{ name: Buffer.from("b\\c"), reason: expect.stringContaining("separator") }],
    });
    expect(pathsOf(await all(root, { backslashSeparates: true, resumeAfter: Buffer.from("/a") }))).toEqual(["/e"]);
    expect(pathsOf(await all(root))).toEqual(["/", "/a", "/b\\c", "/b\\c/d", "/e"]);
  });

  test("a directory of 20,000 files, in parts", async () => {
    const root = tree({ "z/last": "" });
    const big = path.join(root, "big");
    fs.mkdirSync(big);
    for (let i = 0; i < 20_000; i++) fs.closeSync(fs.openSync(path.join(big, `f${i}`), "w"));
    const found = await all(root);
    expect(lines(found)).toEqual(linesByFind(root));
    const parts = found.filter((listing) => text(listing.path) === "/big");
    expect(parts.length).toBeGreaterThanOrEqual(5);
    expect(Math.max(...parts.map((part) => part.files.length))).toBeLessThanOrEqual(4000);
    expect(parts.map((part) => part.more)).toEqual(parts.map((_, i) => i < parts.length - 1));
    expect(parts.at(-1)?.complete).toBe(true);
  });

  test("/etc", async () => {
    expect(lines(await all("/etc"))).toEqual(linesByFind("/etc"));
  });
});

describe("order and resumption", () => {
  const files = { "a/x": "", "a/b/x": "", "a/b/c/x": "", "a-b/x": "", "a/é/x": "", "B/x": "", "b/deep/er/x": "", "z/": "", x: "" };

  test("depth first, each before its subdirectories, siblings in byte order", async () => {
    expect(pathsOf(await all(tree(files)))).toEqual([
      "/",
      "/B",
      "/a",
      "/a/b",
      "/a/b/c",
      "/a/é",
      "/a-b",
      "/b",
      "/b/deep",
      "/b/deep/er",
      "/z",
    ]);
  });

  test("resuming at any position gives the rest, read ahead or not", async () => {
    const root = tree(files);
    const whole = await all(root);
    for (const readAhead of [1, 32]) {
      for (let i = 0; i < whole.length; i++) {
        const rest = await all(root, { resumeAfter: whole[i]?.path, readAhead });
        expect(rest.map(withoutTime)).toEqual(whole.slice(i + 1).map(withoutTime));
      }
    }
  });

  test("resuming where the directory is gone goes on after its place", async () => {
    const root = tree(files);
    fs.rmSync(path.join(root, "a/b"), { recursive: true });
    expect(pathsOf(await all(root, { resumeAfter: Buffer.from("/a/b/c") }))[0]).toBe("/a/é");
    fs.rmSync(path.join(root, "a"), { recursive: true });
    expect(pathsOf(await all(root, { resumeAfter: Buffer.from("/a/b") }))[0]).toBe("/a-b");
  });
});

describe("what is left out", () => {
  test("default names at any depth and in any case, and globs", async () => {
    const root = tree({
      "keep/x": "",
      ".snapshot/x": "",
      "keep/$recycle.bin/x": "",
      "keep/System Volume Information/x": "",
      "keep/.Lucid_Audit/x": "",
      "keep/y.tmp": "",
      "keep/sub/z.tmp": "",
      "Active/one/x": "",
    });
    const stats = newWalkStats();
    expect(pathsOf(await all(root, { stats }))).toEqual(["/", "/Active", "/Active/one", "/keep", "/keep/sub"]);
    expect(stats.excluded).toBe(4);
    const globbed = await all(root, { exclude: ["*.tmp", "/Active/**"] });
    expect(pathsOf(globbed)).toEqual(["/", "/keep", "/keep/sub"]);
    expect(namesOf(globbed[1])).toEqual(["x"]);
    expect(namesOf(globbed[2])).toEqual([]);
    expect(pathsOf(await all(root, { defaultExcludes: false }))).toContain("/keep/$recycle.bin");
  });

  test.runIf(linux)("symlinks and pipes are counted, not recorded and not followed", async () => {
    const root = tree({ "d/x": "" });
    fs.symlinkSync("d", path.join(root, "to directory"));
    fs.symlinkSync("nowhere", path.join(root, "dangling"));
    execFileSync("mkfifo", [path.join(root, "pipe")]);
    const stats = newWalkStats();
    expect(pathsOf(await all(root, { stats }))).toEqual(["/", "/d"]);
    expect(stats).toMatchObject({ symlinks: 2, specials: 1, files: 1, directories: 2 });
  });

  test.runIf(linux && fs.existsSync("/proc/self"))("other file systems, when asked", async () => {
    const stats = newWalkStats();
    const listings = await all("/", { oneFileSystem: true, exclude: ["/*/*"], stats });
    expect(pathsOf(listings)).not.toContain("/proc");
    expect(stats.otherFileSystems).toBeGreaterThan(0);
  });
});

describe("what can't be read", () => {
  test("a root that is missing, or no directory", async () => {
    await expect(all(path.join(top, "nowhere"))).rejects.toThrow(/root of the share cannot be read.*ENOENT/);
    await expect(all(path.join(tree({ file: "" }), "file"))).rejects.toThrow(/is not a directory/);
  });

  test.runIf(linux && !isRoot)("a directory without permission is said so, and the walk goes on", async () => {
    const root = tree({ "closed/x": "", "no search/x": "", "open/x": "" });
    fs.chmodSync(path.join(root, "closed"), 0);
    fs.chmodSync(path.join(root, "no search"), 0o444);
    expectUnreadable(await all(root).finally(() => execFileSync("chmod", ["-R", "u+rwx", root])));
  });

  // Root may read everything, so it becomes someone else for the time of the walk.
  test.runIf(linux && isRoot)("a directory without permission is said so, and the walk goes on (as nobody)", async () => {
    const root = tree({ "closed/x": "", "no search/x": "", "open/x": "" });
    fs.chmodSync(root, 0o755);
    fs.chmodSync(top, 0o755);
    execFileSync("chown", ["-R", "65534:65534", root]);
    fs.chmodSync(path.join(root, "closed"), 0);
    fs.chmodSync(path.join(root, "no search"), 0o444);
    process.seteuid?.(65534);
    try {
      expectUnreadable(await all(root));
    } finally {
      process.seteuid?.(0);
    }
  });
});

function expectUnreadable(found: Listing[]): void {
  expect(pathsOf(found)).toEqual(["/", "/closed", "/no search", "/open"]);
  expect(found[1]).toMatchObject({ complete: false, files: [] });
  expect(found[1]?.unreadableReason).toMatch(/^EACCES/);
  expect(found[2]).toMatchObject({ complete: false, files: [] });
  expect(found[2]?.unreadableReason).toMatch(/^EACCES/);
  expect(namesOf(found[3])).toEqual(["x"]);
}

describe("hashing", () => {
  test("reads files, but no stubs, and leaves their access times alone", async () => {
    const root = tree({ f: "content", empty: "" });
    fs.writeFileSync(path.join(root, "stub"), "");
    fs.truncateSync(path.join(root, "stub"), 1_000_000);
    execFileSync("touch", ["-a", "-d", "2001-01-01T00:00:00Z", path.join(root, "f")]);
    const stats = newWalkStats();
    const [listing] = await all(root, { hash: true, stats });
    const hashes = Object.fromEntries(listing?.files.map((file) => [text(file.name), Buffer.from(file.fileHash).toString("hex")]) ?? []);
    expect(hashes.f).toBe(createHash("sha256").update("content").digest("hex"));
    expect(hashes.empty).toBe(createHash("sha256").digest("hex"));
    expect(hashes.stub).toBe("");
    expect(stats).toMatchObject({ stubsNotHashed: 1, hashErrors: 0 });
    expect(fs.statSync(path.join(root, "f")).atime.toISOString()).toBe("2001-01-01T00:00:00.000Z");
  });
});

describe("bounds", () => {
  test("an abort ends the walk with its reason, also while it is throttled", async () => {
    const root = tree(Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`f${i}`, ""])));
    const controller = new AbortController();
    const walking = all(root, { maxFilesPerSecond: 0.001, signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(walking).rejects.toThrow("enough");
  });

  test("an abort is heard while everything is cached", async () => {
    const root = tree(Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`d${i}/f`, ""])));
    expect(await all(root)).toHaveLength(3001);
    const controller = new AbortController();
    const walking = walk(root, { signal: controller.signal });
    await walking.next();
    setImmediate(() => controller.abort(new Error("enough")));
    const rest = async () => {
      for await (const _ of walking);
    };
    await expect(rest()).rejects.toThrow("enough");
  });

  test("the throttle holds the rate", async () => {
    const root = tree(Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`d${i % 4}/f${i}`, ""])));
    const startMs = performance.now();
    await all(root, { maxFilesPerSecond: 100 });
    // The first tenth of a second's worth of each batch is free, the rest has to wait: 40 files take 0.3 s at least.
    expect(performance.now() - startMs).toBeGreaterThan(250);
  });
});

function withoutTime(listing: Listing): Omit<Listing, "listTimeMs"> {
  const { listTimeMs: _, ...rest } = listing;
  return { ...rest, files: [...rest.files].sort((a, b) => Buffer.compare(a.name, b.name)) };
}
