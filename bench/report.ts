/** Figures as a table for people. */
import * as os from "node:os";

export interface Figure {
  name: string;
  /** One per run. */
  seconds: number[];
  /** Median over raw COPY's median, of the same run. */
  ratio: number;
  walBytesPerFile?: number;
  peakRssBytes?: number;
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] as number;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] as number) + high) / 2;
}

/** On stderr: stdout is for --json. */
export function printTable(figures: Figure[], run: { files: number; runs: number; settings: Record<string, string> }): void {
  const settings = Object.entries(run.settings).map(([name, value]) => `${name}=${value}`);
  console.error(
    `\n${run.files} files, ${run.runs} runs, ${os.cpus().length} cores (${os.cpus()[0]?.model ?? "unknown"}), Node ${process.version}`,
  );
  console.error(`PostgreSQL: fsync, full_page_writes and synchronous_commit on, ${settings.join(", ")}\n`);
  console.error(`${"".padEnd(42)}${"min s".padStart(8)}${"median".padStart(8)}${"max".padStart(8)}${"x raw".padStart(8)}   other`);
  for (const { name, seconds, ratio, walBytesPerFile, peakRssBytes } of figures) {
    const columns = [Math.min(...seconds), median(seconds), Math.max(...seconds), ratio]
      .map((value) => value.toFixed(2).padStart(8))
      .join("");
    const wal = walBytesPerFile === undefined ? "" : `${walBytesPerFile.toFixed(1)} B of WAL a file`;
    const rss = peakRssBytes === undefined ? "" : `peak RSS ${(peakRssBytes / 1e6).toFixed(0)} MB`;
    console.error(`${name.padEnd(42)}${columns}   ${wal}${rss}`);
  }
}
