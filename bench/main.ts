/** `npm run bench`: see README.md beside this file. */
import { execFile } from "node:child_process";
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { promisify } from "node:util";
import { startEmbedded } from "../src/db/embedded.js";
import type { BenchContext, BenchResult } from "./bed.js";
import { atMost, type Budget, holds, printBudgets } from "./budgets.js";
import { writePlans } from "./explain.js";
import { startExplaining } from "./explain-server.js";
import { measureFlat } from "./flat.js";
import { largeFiles, measureGrowth } from "./growth.js";
import { timeOnly } from "./operation.js";
import { type BenchOptions, readOptions } from "./options.js";
import { measurePlan } from "./plan.js";
import { printProfiles } from "./profiles.js";
import { measureReads } from "./reads.js";
import { median, printLegend, printMachine, printOperations } from "./report.js";
import { measureScans } from "./scans.js";
import { measureSeed } from "./seed.js";
import { measureSteady } from "./steady.js";
import { measureFollowing, measureTrail } from "./trail.js";
import { removeTree } from "./tree.js";
import { measureWalk } from "./walk.js";
import { RawCopy } from "./yardsticks.js";

interface Bench {
  measure(context: BenchContext): Promise<BenchResult>;
  /** When --files does not say. */
  files: number;
  /** Runs without --only. The others take long, or are held to nothing. */
  usual: boolean;
  /** Handles the rows that raw COPY does, so that its time is shown as a multiple of it. */
  besideRaw?: boolean;
}

const million = 1_000_000;
const treeFiles = 300_000;
const benches: Record<string, Bench> = {
  seed: { measure: measureSeed, files: million, usual: true, besideRaw: true },
  scans: { measure: measureScans, files: million, usual: true, besideRaw: true },
  steady: { measure: measureSteady, files: million, usual: true, besideRaw: true },
  reads: { measure: measureReads, files: million, usual: true },
  plan: { measure: measurePlan, files: million, usual: true },
  audit: { measure: measureTrail, files: million, usual: true },
  "audit-follow": { measure: measureFollowing, files: million, usual: false },
  walk: { measure: measureWalk, files: treeFiles, usual: true },
  flat: { measure: measureFlat, files: 5 * million, usual: false },
  growth: { measure: measureGrowth, files: largeFiles, usual: false },
};
/** Those that hold a budget. */
const budgeted = ["scans", "steady", "audit", "walk", "growth"];
const serverPeakBytes = 200e6;

/** Durability on, as it ships; memory and checkpoints as docs/postgresql.md advises: a quarter of the memory, and checkpoints by time. */
const settings = {
  shared_buffers: `${Math.floor(os.totalmem() / 4 / 2 ** 20)}MB`,
  max_wal_size: "32GB",
  min_wal_size: "4GB",
  checkpoint_timeout: "15min",
  maintenance_work_mem: "256MB",
};

const options = readOptions(Object.keys(benches));
if (options.clean) removeTree(options.files ?? treeFiles);
else process.exitCode = await main(options);

/** 1 when a budget is broken and --check was given. */
async function main({ only, json, check, explainDir, profileDir, ...rest }: BenchOptions): Promise<number> {
  const names = Object.keys(benches).filter((name) => only?.includes(name) ?? benches[name]?.usual);
  if (profileDir !== undefined) await fs.mkdir(profileDir, { recursive: true });
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "frostline-bench-"));
  // As root PostgreSQL runs as another user, and would be put elsewhere, where nobody cleans up.
  await fs.chmod(dir, 0o711);
  const embedded = await startEmbedded({ dataDir: path.join(dir, "postgres"), settings });
  const explaining = explainDir === undefined ? undefined : await startExplaining(embedded);
  const postgres = explaining ?? embedded;
  const earlier = new Map<string, BenchResult>();
  const raws = new Map<number, RawCopy>();
  try {
    printMachine(settings);
    for (const name of names) {
      const { measure, files: usualFiles, besideRaw } = benches[name] as Bench;
      const files = rest.files ?? usualFiles;
      const rawCopy = raws.get(files) ?? new RawCopy(postgres.url("postgres", "postgres"), files);
      console.error(`\n${name}: ${files} files`);
      const context: BenchContext = { ...rest, postgres, dir, files, profileDir, earlier, rawCopy };
      if (besideRaw) await rawCopy.measure();
      const result = await measure(context);
      if (besideRaw) await rawCopy.measure();
      if (rawCopy.seconds.length > 0) raws.set(files, rawCopy);
      earlier.set(name, result);
      if (result.operations.length > 0) printOperations(result.operations, besideRaw ? median(rawCopy.seconds) : undefined);
    }
  } finally {
    await postgres.stop();
    if (explaining && explainDir) console.error(`\n${await writePlans(explaining.logFile, explainDir)} plans in ${explainDir}`);
    await fs.rm(dir, { recursive: true, force: true });
  }
  const yardsticks = [...raws].map(([files, { seconds }]) => timeOnly("raw COPY", files, seconds));
  for (const each of yardsticks) printOperations([each], median(each.seconds));
  printLegend();
  const budgets = [...[...earlier.values()].flatMap((result) => result.budgets), ...memoryBudget(earlier)];
  printBudgets(
    budgets,
    budgeted.filter((name) => !names.includes(name)),
  );
  if (profileDir !== undefined) await printProfiles(profileDir);
  if (json) console.log(JSON.stringify(await asJson(budgets, yardsticks, earlier), undefined, 2));
  return check && !budgets.every(holds) ? 1 : 0;
}

/** Of all that was measured. */
function memoryBudget(results: Map<string, BenchResult>): Budget[] {
  const peaks = [...results.values()].flatMap(({ operations }) => operations.flatMap(({ use }) => (use ? [use.peakBytes.server] : [])));
  return peaks.length === 0 ? [] : [atMost("peak RSS of the server throughout", Math.max(...peaks) / 1e6, serverPeakBytes / 1e6, "MB")];
}

async function asJson(budgets: Budget[], yardsticks: unknown, results: Map<string, BenchResult>) {
  const { stdout } = await promisify(execFile)("git", ["rev-parse", "--short", "HEAD"]).catch(() => ({ stdout: "" }));
  return {
    commit: stdout.trim() || undefined,
    machine: { cores: os.cpus().length, model: os.cpus()[0]?.model, node: process.version },
    settings,
    yardsticks,
    budgets: budgets.map((budget) => ({ ...budget, holds: holds(budget) })),
    benches: Object.fromEntries(results),
  };
}
