/** Progress lines, on a terminal only. */
import cliProgress from "cli-progress";
import { bytes, count } from "./format.js";

export interface Progress {
  files: number;
  /** Sum of the files' logical sizes. */
  bytes: number | bigint;
  state: string;
}

export interface ProgressLine<Now> {
  update(now: Now): void;
  stop(): void;
}

/** The progress of a scan. */
export function startProgress(terminal: boolean, startedMs = Date.now()): ProgressLine<Progress> {
  return startLine(terminal, { files: 0, bytes: 0, state: "starting" }, (now) => progressWords(now, Date.now() - startedMs));
}

/** Redrawn at most ten times a second, on stderr; does nothing unless `terminal`. */
export function startLine<Now extends object>(terminal: boolean, first: Now, words: (now: Now) => string): ProgressLine<Now> {
  if (!terminal) return { update: () => {}, stop: () => {} };
  const bar = new cliProgress.SingleBar({
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
    fps: 10,
    // How much there is is only known at the end: no bar, no percentage.
    format: (_options, _params, payload: Now) => words(payload),
  });
  bar.start(1, 0, first);
  return {
    update: (now) => bar.update(0, now),
    stop: () => bar.stop(),
  };
}

/** `scanning  12,345 files  1.2 GiB  8,000 files/s`. */
export function progressWords(progress: Progress, elapsedMs: number): string {
  const perSecond = elapsedMs > 0 ? Math.round((progress.files * 1000) / elapsedMs) : 0;
  return `${progress.state}  ${count(progress.files)} files  ${bytes(progress.bytes)}  ${count(perSecond)} files/s`;
}
