/** Figures of audit trails: how many events a minute, and how soon a line is seen. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import pg from "pg";
import { program } from "../test/support/program.js";
import { encodeTrail, trailStartsUnix } from "./audit-events.js";
import type { BenchServer } from "./bed.js";
import { processFigures } from "./processes.js";
import { createBenchShare, encodeChunks, replayScan } from "./replay-scan.js";

/** More than will be sent: what is encoded beforehand must last. */
const encodedEventsPerSecond = 50_000;
const linesPerMinute = 10_000;
const batchIntervalMs = 50;
const pollIntervalMs = 20;
const tsx = fileURLToPath(new URL("../node_modules/tsx/dist/cli.mjs", import.meta.url));

export interface AuditFigures {
  seconds: number;
  events: number;
  eventsPerMinute: number;
  counts: Record<string, string>;
  serverCpuSecondsPerMillionEvents: number | undefined;
  serverPeakRssBytes: number | undefined;
}

export interface FollowFigures {
  lines: number;
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
}

export interface AuditBench {
  server: BenchServer;
  /** Sees all tenants' rows. */
  superuserUrl: string;
  /** A scratch directory. */
  dir: string;
  files: number;
  seconds: number;
}

export const auditedShare = "audited";

/** A share of `files` files that was scanned once. */
export async function scanForAudit({ server, dir, files }: AuditBench): Promise<void> {
  const chunkFile = path.join(dir, "chunks");
  const chunks = await encodeChunks(chunkFile, { files });
  await createBenchShare(server, auditedShare);
  await replayScan(server, auditedShare, chunkFile, chunks);
}

/** As many events as go through in `seconds`, from one agent process. */
export async function measureAudit({ server, dir, files, seconds }: AuditBench): Promise<AuditFigures> {
  await encodeTrail(dir, { files, events: seconds * encodedEventsPerSecond });
  const before = await processFigures(server.pid);
  const replay = fileURLToPath(new URL("audit-replay.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [
    tsx,
    replay,
    server.address,
    server.key,
    dir,
    auditedShare,
    String(seconds),
  ]);
  const sent = JSON.parse(stdout) as Pick<AuditFigures, "seconds" | "events" | "counts">;
  const after = await processFigures(server.pid);
  return {
    ...sent,
    eventsPerMinute: (sent.events / sent.seconds) * 60,
    serverCpuSecondsPerMillionEvents: before && after && ((after.cpuSeconds - before.cpuSeconds) / sent.events) * 1e6,
    serverPeakRssBytes: after?.peakRssBytes,
  };
}

interface TrackedFile {
  id: string;
  path: string;
}

/** A trail that grows by 10,000 lines a minute, and `frostline audit --follow`: from a line's write until its file's row shows it. */
export async function measureFollow({ server, superuserUrl, dir, seconds }: AuditBench): Promise<FollowFigures> {
  const log = path.join(dir, "filespace/.lucid_audit/node-0/2026/09/trail.log.active");
  await fs.mkdir(path.dirname(log), { recursive: true });
  await fs.writeFile(log, "");
  const look = new pg.Client({ connectionString: superuserUrl });
  await look.connect();
  const files = await filesToRead(look, Math.ceil((linesPerMinute / 60) * seconds));
  const global = ["--server", server.address, "--key", server.key, "--json"];
  const agent = spawn(program, ["audit", path.join(dir, "filespace"), "--share", auditedShare, "--follow", ...global], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const exited = once(agent, "exit");
  try {
    // Its first lines show that it follows; they are not counted.
    await writeAndSee(look, log, files.splice(0, 10), 1);
    return summary(await writeAndSee(look, log, files, linesPerMinute / 60));
  } finally {
    agent.kill("SIGINT");
    await exited;
    await look.end();
  }
}

async function filesToRead(look: pg.Client, count: number): Promise<TrackedFile[]> {
  const { rows } = await look.query<TrackedFile>(
    `SELECT c.file_current_id AS id, CASE d.dir_path WHEN '/' THEN '' ELSE d.dir_path END || '/' || c.name AS path
     FROM file_current c JOIN dir d USING (tenant_id, dir_id)
     WHERE c.missing_since_scan_id IS NULL ORDER BY hashtext(c.name) LIMIT $1`,
    [count + 10],
  );
  return rows;
}

/** A line for each file, evenly over time. Resolves with each line's delay in ms once all are seen. */
async function writeAndSee(look: pg.Client, log: string, files: TrackedFile[], linesPerSecond: number): Promise<number[]> {
  const writtenMs = new Map<string, number>();
  const delays: number[] = [];
  const write = async () => {
    const startMs = performance.now();
    for (let written = 0; written < files.length; ) {
      const due = Math.min(files.length, Math.ceil(((performance.now() - startMs) / 1000) * linesPerSecond));
      const now = files.slice(written, due);
      await fs.appendFile(log, now.map((file) => lineOf(file)).join(""));
      for (const { id } of now) writtenMs.set(id, performance.now());
      written = due;
      await delay(batchIntervalMs);
    }
  };
  const see = async () => {
    while (delays.length < files.length) {
      const pending = [...writtenMs.keys()];
      const { rows } = await look.query<{ id: string }>(
        "SELECT file_current_id AS id FROM file_current WHERE file_current_id = ANY($1) AND tenant_id = (SELECT tenant_id FROM share WHERE share_name = $2) AND atime_unix >= $3",
        [pending, auditedShare, followedAtUnix],
      );
      for (const { id } of rows) {
        delays.push(performance.now() - (writtenMs.get(id) as number));
        writtenMs.delete(id);
      }
      await delay(pollIntervalMs);
    }
  };
  await Promise.all([write(), see()]);
  return delays;
}

/** Later than anything that measureAudit sends. */
const followedAtUnix = trailStartsUnix + 100_000_000;

function lineOf({ path: entryPath }: TrackedFile): string {
  return `${JSON.stringify({
    timestamp: followedAtUnix * 1_000_000,
    user: { name: "reader@example.com", id: "reader@example.com" },
    device: { hostName: "reader", osName: "Linux", osVersion: "6" },
    event: { filespace: "bench", nodeId: "node-0", filespaceUuid: "bench" },
    operation: { action: "FileRead", entryPath, fileId: "1" },
  })}\n`;
}

function summary(delays: number[]): FollowFigures {
  const sorted = delays.sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number;
  return { lines: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}

/** On stderr: stdout is for --json. */
export function printAudit(figures: AuditFigures): void {
  const { seconds, events, eventsPerMinute, counts, serverCpuSecondsPerMillionEvents, serverPeakRssBytes } = figures;
  const words = Object.entries(counts).map(([name, count]) => `${count} ${name}`);
  console.error(
    `\n${events} events in ${seconds.toFixed(1)} s: ${(eventsPerMinute / 1e6).toFixed(2)} million a minute (${words.join(", ")})`,
  );
  if (serverCpuSecondsPerMillionEvents === undefined || serverPeakRssBytes === undefined) return;
  console.error(
    `server: ${serverCpuSecondsPerMillionEvents.toFixed(1)} s of CPU per million events, peak RSS ${(serverPeakRssBytes / 1e6).toFixed(0)} MB`,
  );
}

export function printFollow({ lines, p50Ms, p99Ms, maxMs }: FollowFigures): void {
  const columns = Object.entries({ p50Ms, p99Ms, maxMs }).map(([name, ms]) => `${name.slice(0, -2)} ${ms.toFixed(0)} ms`);
  console.error(`\n${lines} lines at ${linesPerMinute} a minute, from written to visible: ${columns.join(", ")}`);
}
