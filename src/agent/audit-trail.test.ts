import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Scratch, scratchDirectory } from "../../test/support/scratch.js";
import { findTrail, listAuditFiles, type TrailProblem } from "./audit-trail.js";

let scratch: Scratch;
beforeEach(async () => {
  scratch = await scratchDirectory();
});
afterEach(() => scratch.remove());

async function write(...names: string[]): Promise<void> {
  for (const name of names) {
    await fs.mkdir(path.dirname(path.join(scratch.path, name)), { recursive: true });
    await fs.writeFile(path.join(scratch.path, name), "");
  }
}

async function list(root = scratch.path) {
  const problems: TrailProblem[] = [];
  const files = await listAuditFiles(root, (problem) => problems.push(problem));
  return { files, problems };
}

test("logs at any depth, rotated and open, of each node in the order of time", async () => {
  await write(
    "n2/2026/9/2026-09-30T00.00.00Z.log",
    "n2/2026/10/2026-10-01T00.00.00Z.log.active",
    "n1/2025/12/2025-12-31T23.45.00Z.log",
    "x.log",
  );
  await write("n1/readme.txt", "n1/2026/log", "n1/2026/x.log.gz", "n1/2026/x.active");
  await fs.symlink(path.join(scratch.path, "x.log"), path.join(scratch.path, "n1/link.log"));
  const { files, problems } = await list();
  expect(files.map(({ node, auditFilePath, active }) => [node, auditFilePath, active])).toEqual([
    ["", "x.log", false],
    ["n1", "n1/2025/12/2025-12-31T23.45.00Z.log", false],
    ["n2", "n2/2026/9/2026-09-30T00.00.00Z.log", false],
    ["n2", "n2/2026/10/2026-10-01T00.00.00Z.log", true],
  ]);
  expect(problems).toEqual([]);
});

test("a log that has both names is one file", async () => {
  await write("n/a.log", "n/a.log.active");
  const { files } = await list();
  expect(files).toEqual([
    {
      auditFilePath: "n/a.log",
      node: "n",
      active: true,
      paths: ["n/a.log.active", "n/a.log"].map((name) => path.join(scratch.path, name)),
    },
  ]);
});

test("what can't be listed is told of", async () => {
  const gone = path.join(scratch.path, "gone");
  const { files, problems } = await list(gone);
  expect(files).toEqual([]);
  expect(problems).toMatchObject([{ path: gone, message: expect.stringContaining("ENOENT") }]);
});

test("the trail is .lucid_audit in the filespace's root, or the directory itself", async () => {
  expect(await findTrail(scratch.path)).toBe(scratch.path);
  await fs.mkdir(path.join(scratch.path, ".lucid_audit"));
  expect(await findTrail(scratch.path)).toBe(path.join(scratch.path, ".lucid_audit"));
  await write("x.log");
  await expect(findTrail(path.join(scratch.path, "x.log"))).rejects.toThrow("is not a directory");
  await expect(findTrail(path.join(scratch.path, "gone"))).rejects.toThrow("ENOENT");
});
