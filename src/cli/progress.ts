/** The progress line of a scan: files, bytes and rate, on a terminal only. */
import cliProgress from "cli-progress";
import { bytes, count } from "./format.js";

export interface Progress {
  files: number;
  /** Sum of the files' logical sizes. */
  bytes: number | bigint;
  state: string;
}

export interface ProgressLine {
  update(progress: Progress): void;
  stop(): void;
}

/** Redrawn at most ten times a second, on stderr; does nothing unless `terminal`. */
export function startProgress(terminal: boolean, startedMs = Date.now()): ProgressLine {
  if (!terminal) return { update: () => {}, stop: () => {} };
  const bar = new cliProgress.SingleBar({
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
    fps: 10,
    // How many files there are is only known at the end: no bar, no percentage.
    format: (_options, _params, payload: Progress) => progressWords(payload, Date.now() - startedMs),
  });
  bar.start(1, 0, { files: 0, bytes: 0, state: "starting" } satisfies Progress);
  return {
    update: (progress) => bar.update(0, progress),
    stop: () => bar.stop(),
  };
}

/** `scanning  12,345 files  1.2 GiB  8,000 files/s`. */
export function progressWords(progress: Progress, elapsedMs: number): string {
  const perSecond = elapsedMs > 0 ? Math.round((progress.files * 1000) / elapsedMs) : 0;
  return `${progress.state}  ${count(progress.files)} files  ${bytes(progress.bytes)}  ${count(perSecond)} files/s`;
}
