/** Carries an audit trail to the server: once, or for ever. The server's cursors say what it has; the agent keeps nothing. */
import { setTimeout as sleep } from "node:timers/promises";
import { addCounts } from "./audit-counts.js";
import { pushNode } from "./audit-node.js";
import {
  type AuditResult,
  type AuditRun,
  type AuditSummary,
  measure,
  newAuditRun,
  newSummary,
  type RunAuditOptions,
  report,
} from "./audit-run.js";
import type { TrackedFile } from "./audit-state.js";
import { createSurvey } from "./audit-survey.js";
import { findTrail } from "./audit-trail.js";
import type { Client } from "./client.js";

export type { AuditProgress, AuditResult, AuditSummary, RefusedLine, RunAuditOptions } from "./audit-run.js";

const defaultPollIntervalMs = 1000;
/** Nodes sent at the same time. */
const nodesAtOnce = 4;
/** For what was sent to be committed, once the run was told to stop. */
const graceMs = 5_000;

/**
 * Reads the trail from the server's cursors on, and sends it. Each node's files are sent in order, nodes side by side.
 * Connections that fail are made again: for ever when following, else for `retry.maxElapsedMs` without progress (default 10 min).
 * What can't be read is told of, and tried again in the next round. When following it ends with the signal, and then resolves;
 * otherwise it rejects with the signal's reason. Rejects with the system's error when the trail can't be read at all, and
 * with a final RpcError.
 */
export async function runAudit(client: Client, options: RunAuditOptions): Promise<AuditResult> {
  const root = await findTrail(options.dir);
  const calls = new AbortController();
  const run = newAuditRun(client, options, calls.signal);
  let grace: NodeJS.Timeout | undefined;
  const onStop = () => {
    grace = setTimeout(() => calls.abort(options.signal?.reason), graceMs);
  };
  options.signal?.addEventListener("abort", onStop, { once: true });
  const total = newSummary();
  try {
    options.signal?.throwIfAborted();
    await rounds(run, root, total);
  } catch (error) {
    if (!isStop(error, options.signal)) throw error;
    addRound(run, total);
  } finally {
    clearTimeout(grace);
    options.signal?.removeEventListener("abort", onStop);
  }
  if (!options.follow) options.signal?.throwIfAborted();
  return { ...total, progress: { ...run.progress } };
}

/** A wait or a call that ended because the run was told to stop. */
function isStop(error: unknown, signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true && (error === signal.reason || (error instanceof Error && error.name === "AbortError"));
}

/** Rounds until all is sent; when following, until the run is stopped. */
async function rounds(run: AuditRun, root: string, total: AuditSummary): Promise<void> {
  const { follow, signal, onRound, pollIntervalMs = defaultPollIntervalMs } = run.options;
  const survey = createSurvey(run, root);
  let before = "";
  for (;;) {
    const beganMs = performance.now();
    const linesBefore = run.progress.lines;
    run.round = newSummary();
    const files = await survey();
    report(run, "reading");
    const heldBack = await pushNodes(run, files);
    measure(run);
    report(run, "waiting");
    const round: AuditResult = { ...run.round, progress: { ...run.progress } };
    addRound(run, total);
    total.problems = round.problems;
    const problems = JSON.stringify(round.problems);
    if (run.progress.lines !== linesBefore || problems !== before) await onRound?.(round);
    before = problems;
    if (run.stopped() || (!follow && !heldBack)) return;
    await sleep(Math.max(0, beganMs + pollIntervalMs - performance.now()), undefined, signal === undefined ? {} : { signal });
  }
}

function addRound(run: AuditRun, total: AuditSummary): void {
  addCounts(total.counts, run.round.counts);
  total.unreported += run.round.unreported;
  run.round = newSummary();
}

/** All nodes' files, some nodes at a time. Whether any were held back for the next round. */
async function pushNodes(run: AuditRun, files: TrackedFile[]): Promise<boolean> {
  const queue = byNode(files).values();
  let heldBack = false;
  const push = async () => {
    for (const node of queue) heldBack = (await pushNode(run, node)) || heldBack;
  };
  const halt = (error: unknown) => {
    run.halted = true;
    throw error;
  };
  // No early leave: when this rejects, nothing is under way any more.
  const ended = await Promise.allSettled(Array.from({ length: nodesAtOnce }, () => push().catch(halt)));
  const failed = ended.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return heldBack;
}

/** In the order they are in. */
function byNode(files: TrackedFile[]): Map<string, TrackedFile[]> {
  const nodes = new Map<string, TrackedFile[]>();
  for (const tracked of files) {
    const node = nodes.get(tracked.file.node);
    if (node === undefined) nodes.set(tracked.file.node, [tracked]);
    else node.push(tracked);
  }
  return nodes;
}
