/** Memory of agent and server over one long scan. Linux only: the figures are read from /proc. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type BenchServer, createBenchShare, processFigures } from "./scans.js";

export interface FlatFigure {
  /** Sent so far. */
  files: number;
  /** Since the agent's process began. */
  seconds: number;
  /** Highest so far. */
  agentPeakRssBytes: number;
  serverPeakRssBytes: number;
}

const shareName = "flat";

/** One scan of a new share of `files` files by an agent process; a figure after each million, and at the end. */
export async function measureFlat(server: BenchServer, files: number): Promise<FlatFigure[]> {
  await createBenchShare(server, shareName);
  const tsx = fileURLToPath(new URL("../node_modules/tsx/dist/cli.mjs", import.meta.url));
  const agent = path.join(import.meta.dirname, "flat-agent.ts");
  const child = spawn(process.execPath, [tsx, agent, server.address, server.key, shareName, String(files)], {
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
export function printFlat(figures: FlatFigure[]): void {
  console.error(`\n${["files", "s", "agent MB", "server MB"].map((head) => head.padStart(11)).join("")}   (peak RSS so far)`);
  for (const { files, seconds, agentPeakRssBytes, serverPeakRssBytes } of figures) {
    const columns = [String(files), seconds.toFixed(1), (agentPeakRssBytes / 1e6).toFixed(0), (serverPeakRssBytes / 1e6).toFixed(0)];
    console.error(columns.map((column) => column.padStart(11)).join(""));
  }
}
