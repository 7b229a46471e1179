/** Figures as a table for people. */
import * as os from "node:os";
import type { Operation } from "./operation.js";

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] as number;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] as number) + high) / 2;
}

const nameWidth = 34;
const columns: [head: string, width: number][] = [
  ["items", 10],
  ["min s", 8],
  ["median", 8],
  ["max s", 8],
  ["items/s", 10],
  ["x raw", 8],
  ["CPU s per million", 20],
  ["peak MB", 16],
  ["WAL B", 8],
  ["grown B", 8],
];

/** On stderr: stdout is for --json. `rawSeconds`: raw COPY's median of as many files. */
export function printOperations(operations: Operation[], rawSeconds: number | undefined): void {
  console.error(`\n${"".padEnd(nameWidth)}${columns.map(([head, width]) => head.padStart(width)).join("")}`);
  for (const { name, items, seconds, use } of operations) {
    const middle = median(seconds);
    const ratio = rawSeconds !== undefined ? (middle / rawSeconds).toFixed(2) : "";
    const cells = [
      String(items),
      ...[Math.min(...seconds), middle, Math.max(...seconds)].map((value) => value.toFixed(2)),
      (items / middle).toFixed(0),
      ratio,
    ];
    if (use) {
      const { cpuSecondsPerMillion: cpu, peakBytes: peak } = use;
      cells.push([cpu.agent, cpu.server, cpu.postgres].map((value) => value.toFixed(1)).join(" / "));
      cells.push(
        [peak.agent, peak.server, peak.postgres].map((bytes) => (bytes === undefined ? "-" : (bytes / 1e6).toFixed(0))).join(" / "),
      );
      cells.push(use.walBytesPerItem.toFixed(1), use.grownBytesPerItem.toFixed(1));
    }
    console.error(name.padEnd(nameWidth) + cells.map((cell, at) => cell.padStart((columns[at] as [string, number])[1])).join(""));
  }
}

/** What the columns of printOperations are. */
export function printLegend(): void {
  console.error(
    "CPU and peak: agent / server / PostgreSQL, the last without shared_buffers. WAL and what tables grew by: a file, row or event.",
  );
}

export function printMachine(settings: Record<string, string>): void {
  const [cpu] = os.cpus();
  console.error(`\n${os.cpus().length} cores (${cpu?.model ?? "unknown"}), Node ${process.version}`);
  const words = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  console.error(`PostgreSQL: fsync, full_page_writes and synchronous_commit on, ${words.join(", ")}`);
}
