/** `npm run bench`: see README.md beside this file. */
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import { startEmbedded } from "../src/db/embedded.js";
import { createDatabase, migrate } from "../src/db/migrate.js";
import { type AuditBench, measureAudit, measureFollow, printAudit, printFollow, scanForAudit } from "./audit.js";
import { measureFlat, printFlat } from "./flat.js";
import { measurePlan, printPlan } from "./plan.js";
import { type Figure, median, printTable } from "./report.js";
import { assertSound, createBenchShare, encodeChunks, processFigures, replayScan, startBenchServer } from "./scans.js";
import { rawCopySeconds, seedSeconds } from "./yardsticks.js";

/** `seed` and `scans` are measured beside raw COPY, which everything is compared with; the others only when they are asked for. */
const names = ["seed", "scans", "flat", "audit", "audit-follow", "plan"] as const;

/** Durability on, as it ships; memory and checkpoints as docs would advise for a machine of this size. */
const settings = {
  shared_buffers: "1GB",
  max_wal_size: "8GB",
  min_wal_size: "4GB",
  checkpoint_timeout: "15min",
  maintenance_work_mem: "256MB",
};

const { values: options } = parseArgs({
  options: {
    files: { type: "string" },
    runs: { type: "string", default: "3" },
    seconds: { type: "string", default: "60" },
    only: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const files = count("files", options.files ?? (options.only === "flat" ? "5000000" : "1000000"));
const runs = count("runs", options.runs);
const seconds = count("seconds", options.seconds);
if (options.only !== undefined && !names.some((name) => name === options.only)) usage(`--only is one of ${names.join(", ")}`);

const dir = await fs.mkdtemp(path.join(os.tmpdir(), "frostline-bench-"));
const postgres = await startEmbedded({ dataDir: path.join(dir, "postgres"), settings });
try {
  if (options.only === "flat") {
    const figures = await measureMemory();
    printFlat(figures);
    if (options.json) console.log(JSON.stringify({ files, settings, figures }));
  } else if (options.only === "audit" || options.only === "audit-follow") {
    const figures = await measureAuditTrail(options.only);
    if (options.json) console.log(JSON.stringify({ files, seconds, settings, figures }));
  } else if (options.only === "plan") {
    const figures = await measurePlanner();
    printPlan(figures);
    if (options.json) console.log(JSON.stringify({ files, runs, settings, figures }));
  } else {
    const figures = await measure();
    printTable(figures, { files, runs, settings });
    if (options.json) console.log(JSON.stringify({ files, runs, settings, figures }));
  }
} finally {
  await postgres.stop();
  await fs.rm(dir, { recursive: true, force: true });
}

async function measure(): Promise<Figure[]> {
  const superuser = postgres.url("postgres", "postgres");
  const raw = await rawCopySeconds(superuser, files, runs);
  const figures: Figure[] = [{ name: "raw COPY", seconds: raw, ratio: 1 }];
  const rawMedian = median(raw);
  const add = (name: string, seconds: number[], more: Omit<Figure, "name" | "seconds" | "ratio"> = {}) =>
    figures.push({ name, seconds, ratio: median(seconds) / rawMedian, ...more });
  if (options.only !== "scans") {
    const seed = await seedSeconds(superuser, files);
    add("seed's statements, first scan", [seed.firstScan]);
    add("seed's statements, rescan", [seed.rescan]);
  }
  if (options.only !== "seed") await measureScans(add);
  return figures;
}

async function measureMemory() {
  const runtimeUrl = await createBenchDatabase();
  const server = await startBenchServer(runtimeUrl);
  const figures = await measureFlat(server, files).finally(server.close);
  await assertSound(runtimeUrl);
  return figures;
}

async function measurePlanner() {
  const runtimeUrl = await createBenchDatabase();
  const server = await startBenchServer(runtimeUrl);
  const figures = await measurePlan({ server, superuserUrl: postgres.url("postgres", "bench"), dir, files, runs }).finally(server.close);
  await assertSound(runtimeUrl);
  return figures;
}

/** Measures and prints. */
async function measureAuditTrail(name: "audit" | "audit-follow") {
  const runtimeUrl = await createBenchDatabase();
  const server = await startBenchServer(runtimeUrl);
  const bench: AuditBench = { server, superuserUrl: postgres.url("postgres", "bench"), dir, files, seconds };
  const measureAndPrint = async () => {
    await scanForAudit(bench);
    if (name === "audit") {
      const figures = await measureAudit(bench);
      printAudit(figures);
      return figures;
    }
    const figures = await measureFollow(bench);
    printFollow(figures);
    return figures;
  };
  const figures = await measureAndPrint().finally(server.close);
  await assertSound(runtimeUrl);
  return figures;
}

/** Migrated and empty; returns the runtime role's URL. */
async function createBenchDatabase(): Promise<string> {
  await createDatabase(postgres.url("postgres", "postgres"), "bench");
  await migrate(postgres.url("frostline_owner", "bench"));
  return postgres.url("frostline_runtime", "bench");
}

async function measureScans(
  add: (name: string, seconds: number[], more?: Omit<Figure, "name" | "seconds" | "ratio">) => void,
): Promise<void> {
  const runtimeUrl = await createBenchDatabase();
  const whole = path.join(dir, "whole");
  const changed = path.join(dir, "changed");
  const chunks = await encodeChunks(whole, { files });
  await encodeChunks(changed, { files, changeEvery: 100 });
  const server = await startBenchServer(runtimeUrl);
  const look = new pg.Client({ connectionString: postgres.url("postgres", "bench") });
  await look.connect();
  const walPosition = async () => BigInt((await look.query("SELECT pg_current_wal_insert_lsn() - '0/0' AS at")).rows[0].at);
  try {
    const first = [];
    const rescan = [];
    const onePercent = [];
    for (let run = 0; run < runs; run += 1) {
      const share = `share ${run}`;
      await createBenchShare(server, share);
      const scan = async (file: string) => {
        await look.query("CHECKPOINT");
        return replayScan(server, share, file, chunks, walPosition);
      };
      first.push(await scan(whole));
      rescan.push(await scan(whole));
      onePercent.push(await scan(changed));
    }
    const perFile = (figures: { walBytes: number }[]) => ({ walBytesPerFile: median(figures.map(({ walBytes }) => walBytes / files)) });
    add(
      "Frostline over gRPC, first scan",
      first.map(({ seconds }) => seconds),
      perFile(first),
    );
    add(
      "Frostline over gRPC, unchanged rescan",
      rescan.map(({ seconds }) => seconds),
      perFile(rescan),
    );
    add(
      "Frostline over gRPC, 1 % changed",
      onePercent.map(({ seconds }) => seconds),
      perFile(onePercent),
    );
    const process = await processFigures(server.pid);
    if (process)
      add("Frostline server, CPU per million files", [process.cpuSeconds / ((3 * runs * files) / 1e6)], {
        peakRssBytes: process.peakRssBytes,
      });
  } finally {
    await look.end();
    await server.close();
  }
  await assertSound(runtimeUrl);
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) usage(`--${name} takes a whole number from 1`);
  return value;
}

function usage(problem: string): never {
  console.error(`bench: ${problem}. Usage: npm run bench -- [--files N] [--runs N] [--seconds N] [--only ${names.join("|")}] [--json]`);
  process.exit(2);
}
