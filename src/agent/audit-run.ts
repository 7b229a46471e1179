/** What the parts of an agent's run over an audit trail share. */
import { type AuditTotals, newAuditTotals } from "./audit-counts.js";
import type { TrackedFile } from "./audit-state.js";
import type { TrailProblem } from "./audit-trail.js";
import type { Client } from "./client.js";
import { createRateMeter, type RateMeter } from "./rate-meter.js";
import { createRetrier, defaultRetryPolicy, type Retrier, type RetryPolicy } from "./retry.js";

export interface RunAuditOptions {
  shareName: string;
  /** Root of the filespace, with `.lucid_audit` in it, or the audit trail itself. */
  dir: string;
  /** Goes on for what is written later, until aborted. */
  follow: boolean;
  /** From the begin of one round to that of the next, in ms. Default 1,000. */
  pollIntervalMs?: number;
  onProgress?: (progress: AuditProgress) => void;
  /** After the first round, and each that sent something or met other problems than the one before. */
  onRound?: (round: AuditResult) => void | Promise<void>;
  /** A line that can't be read; told again when it is sent again. */
  onRefused?: (line: RefusedLine) => void;
  signal?: AbortSignal;
  retry?: Partial<RetryPolicy>;
}

export interface RefusedLine {
  auditFilePath: string;
  /** Byte of its file where it begins. */
  offset: number;
  reason: string;
}

export interface AuditProgress {
  state: "reading" | "waiting" | "reconnecting";
  /** Files in the trail. */
  files: number;
  /** Lines sent in this run. */
  lines: number;
  linesPerSecond: number;
  /** Of all files: read, in this run or an earlier one. */
  positionBytes: number;
  /** Of all files: not yet read, last lines that are not whole included. */
  lagBytes: number;
  /** Time of the newest event sent in this run, by the clock of its node; undefined before the first. */
  newestEventMicros: bigint | undefined;
}

export interface AuditSummary {
  /** Lines that the server has taken. */
  counts: AuditTotals;
  /** Lines that it has taken as well, and whose answer was lost with a connection. */
  unreported: number;
  /** What can't be read at present. */
  problems: TrailProblem[];
}

/** A round, or a whole run. */
export interface AuditResult extends AuditSummary {
  progress: AuditProgress;
}

export interface AuditRun {
  client: Client;
  options: RunAuditOptions;
  /** True once reading is to end; what was sent is still waited for. */
  stopped: () => boolean;
  /** One of the nodes has failed: the others end too. */
  halted: boolean;
  /** Ends all calls. */
  signal: AbortSignal;
  retrier: Retrier;
  rate: RateMeter;
  /** Of the first event that names one; empty before. */
  volumeId: string;
  progress: AuditProgress;
  /** What came of the round so far. */
  round: AuditSummary;
  files: Map<string, TrackedFile>;
}

/** `signal` ends all calls; options.signal asks to stop. */
export function newAuditRun(client: Client, options: RunAuditOptions, signal: AbortSignal): AuditRun {
  const patience = options.follow ? { maxElapsedMs: Number.POSITIVE_INFINITY } : {};
  const policy = { ...defaultRetryPolicy, ...patience, ...options.retry };
  const run: AuditRun = {
    client,
    options,
    stopped: () => options.signal?.aborted === true,
    halted: false,
    signal,
    retrier: createRetrier(policy, options.signal, () => report(run, "reconnecting")),
    rate: createRateMeter(),
    volumeId: "",
    progress: { state: "reading", files: 0, lines: 0, linesPerSecond: 0, positionBytes: 0, lagBytes: 0, newestEventMicros: undefined },
    round: newSummary(),
    files: new Map(),
  };
  return run;
}

export function newSummary(): AuditSummary {
  return { counts: newAuditTotals(), unreported: 0, problems: [] };
}

export function report(run: AuditRun, state: AuditProgress["state"]): void {
  run.progress.state = state;
  run.progress.linesPerSecond = run.rate.perSecond();
  run.options.onProgress?.({ ...run.progress });
}

/** A part of the trail that can't be read, once in a round. */
export function addProblem(run: AuditRun, problem: TrailProblem): void {
  if (!run.round.problems.some(({ path }) => path === problem.path)) run.round.problems.push(problem);
}

/** Sums up anew how far all files were read. */
export function measure(run: AuditRun): void {
  const { progress } = run;
  Object.assign(progress, { files: run.files.size, positionBytes: 0, lagBytes: 0 });
  for (const { readTo, sizeBytes } of run.files.values()) {
    progress.positionBytes += readTo;
    progress.lagBytes += Math.max(0, sizeBytes - readTo);
  }
}

/** One file was read on, or was found to be of another size. */
export function measureFile(run: AuditRun, tracked: TrackedFile, now: { sizeBytes?: number; readTo: number }): void {
  const { progress } = run;
  const { readTo, sizeBytes = tracked.sizeBytes } = now;
  progress.positionBytes += readTo - tracked.readTo;
  progress.lagBytes += Math.max(0, sizeBytes - readTo) - Math.max(0, tracked.sizeBytes - tracked.readTo);
  Object.assign(tracked, { sizeBytes, readTo });
}
