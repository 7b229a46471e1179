/** A real tree: `find -printf` with the same fields, the agent's walk alone, and `frostline scan` until all is committed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { nodeArguments, nodeFlags } from "../test/support/program.js";
import { type Bed, type BenchContext, type BenchResult, withBed } from "./bed.js";
import { atLeast } from "./budgets.js";
import { type Measured, measureRun, summarise } from "./operation.js";
import { profiling } from "./profiles.js";
import { runModule } from "./replay-scan.js";
import { median } from "./report.js";
import { makeTree, removeTree, type Tree } from "./tree.js";

/** Type, inode, size, blocks, links, owner, the three times and the path: what a scan records. */
const findFormat = "%y %i %s %b %n %U %A@ %T@ %C@ %p\\0";

/** Throws when walk or scan did not find all files of the tree. */
export async function measureWalk(context: BenchContext): Promise<BenchResult> {
  const { files, runs, keepTree } = context;
  const tree = makeTree(files);
  try {
    return await withBed(context, "walk", async (bed) => {
      const find: Measured[] = [];
      const walk: Measured[] = [];
      const scan: Measured[] = [];
      // The first round warms the file system's cache. By turns, so that what else the machine does meets all three.
      for (let run = 0; run <= runs; run += 1) {
        const all = [await measureRun(bed, () => runFind(tree)), await measureRun(bed, () => runWalk(context, tree))];
        all.push(await measureRun(bed, () => runScan(context, bed, tree, `tree ${run}`)));
        if (run === 0) continue;
        for (const [at, list] of [find, walk, scan].entries()) list.push(all[at] as Measured);
      }
      const operations = [
        summarise("find -printf", files, find),
        summarise("walk alone", files, walk),
        summarise("whole first scan", files, scan),
      ];
      const seconds = (runs: Measured[]) => median(runs.map(({ seconds }) => seconds));
      const budgets = [
        atLeast("rate of the walk alone, beside find -printf", seconds(find) / seconds(walk), 0.5),
        atLeast("rate of the whole first scan, beside find -printf", seconds(find) / seconds(scan), 0.2),
      ];
      return { operations, budgets, more: { directories: tree.directories } };
    });
  } finally {
    if (!keepTree) removeTree(files);
  }
}

/** From its start to its end; what it prints goes nowhere, which is the fastest for it. */
async function runFind({ root }: Tree): Promise<{ seconds: number }> {
  return runProcess("find", [root, "-printf", findFormat], {});
}

/** From the walk's first read; its process has started. */
async function runWalk({ profileDir }: BenchContext, { root, files }: Tree): Promise<{ seconds: number }> {
  const { args, env } = profiling(profileDir, "walk");
  // Flags and threads as in bin/frostline.js.
  const profiled = { args: [...nodeFlags(), ...args], env: { ...env, UV_THREADPOOL_SIZE: "16" } };
  const result = JSON.parse(await runModule(profiled, "walk-agent.ts", [root]));
  if (result.files !== files) throw new Error(`the walk found ${result.files} files of ${files}`);
  return result as { seconds: number };
}

/** From the process's start to its end. */
async function runScan({ profileDir }: BenchContext, bed: Bed, { root, files }: Tree, shareName: string): Promise<{ seconds: number }> {
  const global = ["--server", bed.server.address, "--key", bed.server.key];
  const { args: nodeArgs, env } = profiling(profileDir, "agent-scan");
  const args = [...nodeArguments(...nodeArgs), "scan", root, "--share", shareName, ...global];
  const { seconds } = await runProcess(process.execPath, args, env);
  const { rows } = await bed.look.query<{ files: string }>(
    "SELECT count(*) AS files FROM file_current c JOIN share s USING (tenant_id, share_id) WHERE s.share_name = $1 AND c.missing_since_scan_id IS NULL",
    [shareName],
  );
  if (Number(rows[0]?.files) !== files) throw new Error(`the scan committed ${rows[0]?.files} files of ${files}`);
  return { seconds };
}

/** Rejects when it fails, with what it said. */
async function runProcess(command: string, args: string[], env: Record<string, string>): Promise<{ seconds: number }> {
  const startMs = performance.now();
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, ...env } });
  let said = "";
  child.stderr.on("data", (data) => {
    said += data;
  });
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${said}`);
  return { seconds: (performance.now() - startMs) / 1000 };
}
