/** Memory of agent and server over one long scan. Linux only: the figures are read from /proc. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as path from "node:path";
import { createInterface } from "node:readline";
import { type BenchContext, type BenchResult, type BenchServer, withBed } from "./bed.js";
import { atMost } from "./budgets.js";
import { processFigures } from "./processes.js";
import { createBenchShare } from "./replay-scan.js";

interface FlatFigure {
  /** Sent so far. */
  files: number;
  /** Since the agent's process began. */
  seconds: number;
  /** Highest so far. */
  agentPeakRssBytes: number;
  serverPeakRssBytes: number;
}

const shareName = "flat";

export async function measureFlat(context: BenchContext): Promise<BenchResult> {
  const figures = await withBed(context, "flat", ({ server }) => measureMemory(server, context.files));
  printFlat(figures);
  const serverPeak = Math.max(...figures.map(({ serverPeakRssBytes }) => serverPeakRssBytes));
  return {
    operations: [],
    budgets: [atMost("peak RSS of the server over one long scan", serverPeak / 1e6, 200, "MB")],
    more: figures,
  };
}

/** One scan of a new share of `files` files by an agent process; a figure after each million, and at the end. */
async function measureMemory(server: BenchServer, files: number): Promise<FlatFigure[]> {
  await createBenchShare(server, shareName);
  const agent = path.join(import.meta.dirname, "flat-agent.ts");
  const child = spawn(process.execPath, ["--import", "tsx", agent, server.address, server.key, shareName, String(files)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const figures: FlatFigure[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const { peakRssBytes, ...sent } = JSON.parse(line) as { files: number; seconds: number; peakRssBytes: number };
    const serverPeakRssBytes = (await processFigures(server.pid))?.peakRssBytes;
    if (serverPeakRssBytes === undefined) throw new Error("the server's memory cannot be read from /proc");
    figures.push({ ...sent, agentPeakRssBytes: peakRssBytes, serverPeakRssBytes });
  }
  const [code] = (await exited) as [number | null];
  if (code !== 0) throw new Error(`the agent ended with ${code}`);
  return figures;
}

/** On stderr: stdout is for --json. */
function printFlat(figures: FlatFigure[]): void {
  console.error(`\n${["files", "s", "agent MB", "server MB"].map((head) => head.padStart(11)).join("")}   (peak RSS so far)`);
  for (const { files, seconds, agentPeakRssBytes, serverPeakRssBytes } of figures) {
    const columns = [String(files), seconds.toFixed(1), (agentPeakRssBytes / 1e6).toFixed(0), (serverPeakRssBytes / 1e6).toFixed(0)];
    console.error(columns.map((column) => column.padStart(11)).join(""));
  }
}
