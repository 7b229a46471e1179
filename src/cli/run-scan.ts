/** What `scan` and `import` have in common: progress, interruption, and the words at the end. */
import type { Client } from "../agent/client.js";
import { type RunScanOptions, runScan, type ScanResult } from "../agent/push.js";
import { type Scan, ScanStatus } from "../gen/frostline/v1/scan_pb.js";
import type { Context } from "./command.js";
import { type ExitStatus, Interrupted } from "./errors.js";
import { bytes, count, duration } from "./format.js";
import { startProgress } from "./progress.js";

export type TransferOptions = Omit<RunScanOptions, "onProgress" | "signal">;

/**
 * Runs a scan with a progress line. Throws Interrupted when `signal` stopped it: the scan stays
 * RUNNING on the server, and the same command resumes it.
 */
export async function transfer(
  client: Client,
  context: Pick<Context, "output">,
  options: TransferOptions,
  signal: AbortSignal,
): Promise<ScanResult> {
  const progress = startProgress(context.output.terminal);
  try {
    return await runScan(client, { ...options, signal, onProgress: (now) => progress.update(now) });
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new Interrupted(`Stopped. What was sent is kept: run the same command again to go on from there.`);
  } finally {
    progress.stop();
  }
}

/** A line for people about a finished scan. */
export function scanSummary(scan: Scan, elapsedMs: number): string {
  const c = scan.counts;
  if (c === undefined) return `Scan ${scan.scanId}: ${ScanStatus[scan.status]}`;
  const rate = elapsedMs > 0 ? Math.round((Number(c.files) * 1000) / elapsedMs) : 0;
  const seen = `${count(c.files)} files in ${count(c.directories)} directories, ${bytes(c.sizeBytes)}, in ${duration(elapsedMs)} (${count(rate)} files/s)`;
  return `Scan ${scan.scanId} ${ScanStatus[scan.status]}: ${seen}; ${changeWords(scan)}.`;
}

/** `3 added, 1 changed, 0 removed, 1 moved`. */
export function changeWords(scan: Scan): string {
  const c = scan.counts;
  if (c === undefined) return "";
  return `${count(c.added)} added, ${count(c.changed)} changed, ${count(c.removed)} removed, ${count(c.moved)} moved`;
}

/** 3 when something was refused or unreadable. */
export function statusOf(scan: Scan): ExitStatus {
  if (scan.status === ScanStatus.OK) return 0;
  return scan.status === ScanStatus.WARN ? 3 : 1;
}

/** What to do about the warnings of a scan; undefined without any. */
export function warningWords(scan: Scan): string | undefined {
  const c = scan.counts;
  if (scan.status !== ScanStatus.WARN || c === undefined) return undefined;
  return `${count(c.refused)} records refused, ${count(c.unreadableDirectories)} directories unreadable. \`frostline problems ${scan.scanId}\` lists them.`;
}
