import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { frostline, jsonLines } from "./support/command.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";

let scratch: Scratch;
let root: string;

beforeAll(async () => {
  scratch = await scratchDirectory();
  // The embedded PostgreSQL of a root user runs as another one, who has to get to its data.
  await fs.chmod(scratch.path, 0o755);
  root = path.join(scratch.path, "tree");
  await fs.mkdir(path.join(root, "sub"), { recursive: true });
  await fs.writeFile(path.join(root, "sub", "large.bin"), Buffer.alloc(3 * 1024 * 1024));
  await fs.writeFile(path.join(root, "old.txt"), "old");
  await fs.utimes(path.join(root, "old.txt"), new Date("2001-02-03T04:05:06Z"), new Date("2001-02-03T04:05:06Z"));
});
afterAll(() => scratch?.remove());

const demo = (...args: string[]) => frostline(["demo", root, "--data", path.join(scratch.path, "data"), ...args]);

test("the demo shows what it found and what changed, leaves nothing behind, and its commands work", async () => {
  const { status, stdout, stderr } = await demo();
  expect(status, stderr).toBe(0);
  const folder = /frostline-demo-\d+/.exec(stdout)?.[0] as string;
  expect(stdout).toMatch(/Scan 1 OK: 6 files in 3 directories, 3\.0 MiB, in .* files\/s/);
  for (const line of [
    `changed  /${folder}/edited.txt`,
    `added    /${folder}/added.txt`,
    `removed  /${folder}/deleted.txt`,
    `moved    /${folder}/old-name.txt -> /${folder}/new-name.txt`,
  ]) {
    expect(stdout).toContain(`  ${line}`);
  }
  expect(stdout).not.toContain("untouched.txt (");
  expect(stdout).toMatch(/Oldest files.*\n.*\n2001-02-03T04:05:06Z +3 B {2}\/old\.txt\n/);
  expect(stdout).toMatch(/Largest files.*\n.*\n\S+ +3\.0 MiB {2}\/sub\/large\.bin\n/);
  expect(stdout).toMatch(/\n> 3 y +1 \/ 3 B /);
  expect((await fs.readdir(root)).sort()).toEqual(["old.txt", "sub"]);

  await theServeCommandWorks(stdout);
});

/** Runs the printed `serve`, and then each printed command that reads. */
async function theServeCommandWorks(stdout: string): Promise<void> {
  const printed = [...stdout.matchAll(/^ {2}npx frostline (.*)$/gm)].map((match) => (match[1] as string).split(" "));
  const serve = printed.find(([name]) => name === "serve") as string[];
  const reads = printed.filter(([name]) => ["scans", "ls", "diff"].includes(name as string));
  expect(reads).toHaveLength(3);
  let outcomes: Promise<{ status: number | null }[]> | undefined;
  const served = await frostline(serve, {
    env: { FROSTLINE_LISTEN: "127.0.0.1:0" },
    started: (child) => {
      child.stdout?.once("data", () => {
        outcomes = Promise.all(reads.map((args) => frostline(args)));
        void outcomes.then(() => child.kill("SIGTERM"));
      });
    },
  });
  expect(served.status, served.stderr).toBe(0);
  expect((await outcomes)?.map(({ status }) => status)).toEqual([0, 0, 0]);
}

test("again on the same data: the same share, JSON on stdout and words on stderr", async () => {
  const { status, stdout, stderr } = await demo("--json");
  expect(status, stderr).toBe(0);
  const scans = jsonLines<{ shareName: string; counts: { files: string } }>(stdout);
  expect(scans.map((scan) => [scan.shareName, scan.counts.files])).toEqual([
    ["tree", "6"],
    ["tree", "6"],
  ]);
  expect(stderr).toContain("Largest files:");
});

test.skipIf(process.platform === "win32")("Ctrl-C removes the folder and stops the server", async () => {
  let output = "";
  const { status } = await frostline(["demo", root, "--data", path.join(scratch.path, "data")], {
    started: (child) => {
      child.stdout?.on("data", (text: string) => {
        output += text;
        if (output.includes("First scan")) child.kill("SIGINT");
      });
    },
  });
  expect({ status, rest: await fs.readdir(root) }).toEqual({ status: 1, rest: ["old.txt", "sub"] });
});
