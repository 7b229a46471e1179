/** What `audit` says, to programs and to people. */
import { create, toJson } from "@bufbuild/protobuf";
import type { AuditProgress, AuditResult, RefusedLine } from "../agent/audit.js";
import { auditCounters } from "../agent/audit-counts.js";
import type { TrailProblem } from "../agent/audit-trail.js";
import { AuditCountsSchema } from "../gen/frostline/v1/audit_pb.js";
import { bytes, count, duration, safeJson } from "./format.js";
import type { Output } from "./output.js";
import { type ProgressLine, startLine } from "./progress.js";

/** Lines that are named; more are only counted. */
const refusedShown = 20;

/** One object: where lines went, how far all files were read, and what could not be read. 64-bit numbers are text, as in all JSON of the contract. */
export function auditJson(shareName: string, { counts, unreported, problems, progress }: AuditResult): string {
  const { newestEventMicros } = progress;
  return safeJson(
    JSON.stringify({
      shareName,
      counts: toJson(AuditCountsSchema, create(AuditCountsSchema, counts), { alwaysEmitImplicit: true }),
      unreported: String(unreported),
      files: progress.files,
      positionBytes: String(progress.positionBytes),
      lagBytes: String(progress.lagBytes),
      linesPerSecond: Math.round(progress.linesPerSecond * 10) / 10,
      ...(newestEventMicros === undefined ? {} : { newestEventTime: timeOf(newestEventMicros) }),
      problems,
    }),
  );
}

/** `12 lines: 11 applied, 1 refused; 2 files, 4.5 KiB read, 103 B behind.` */
export function auditWords({ counts, unreported, progress }: AuditResult): string {
  const went = auditCounters.filter((counter) => counts[counter] > 0n).map((counter) => `${count(counts[counter])} ${counter}`);
  if (unreported > 0) went.push(`${count(unreported)} of which the answer was lost`);
  const lines = auditCounters.reduce((sum, counter) => sum + counts[counter], 0n) + BigInt(unreported);
  const read = `${count(progress.files)} files, ${bytes(progress.positionBytes)} read, ${bytes(progress.lagBytes)} behind`;
  return `${count(lines)} lines${went.length > 0 ? `: ${went.join(", ")}` : ""}; ${read}.`;
}

/** `reading  12,345 lines  8,000 lines/s  1.2 GiB read  3.4 MiB behind  newest event 2.1 s ago`. */
export function auditProgressWords(progress: AuditProgress, nowMs: number): string {
  const words = [
    progress.state,
    `${count(progress.lines)} lines`,
    `${count(Math.round(progress.linesPerSecond))} lines/s`,
    `${bytes(progress.positionBytes)} read`,
    `${bytes(progress.lagBytes)} behind`,
  ];
  // Clocks of nodes may be ahead of this one.
  if (progress.newestEventMicros !== undefined) {
    words.push(`newest event ${duration(Math.max(0, nowMs - Number(progress.newestEventMicros / 1000n)))} ago`);
  }
  return words.join("  ");
}

export function startAuditProgress(terminal: boolean): ProgressLine<AuditProgress> {
  const first: AuditProgress = {
    state: "reading",
    files: 0,
    lines: 0,
    linesPerSecond: 0,
    positionBytes: 0,
    lagBytes: 0,
    newestEventMicros: undefined,
  };
  return startLine(terminal, first, (now) => auditProgressWords(now, Date.now()));
}

export interface Notes {
  refused: (line: RefusedLine) => void;
  /** Those that were not there before. */
  problems: (problems: TrailProblem[]) => void;
  end: (result: AuditResult, dir: string) => void;
}

/** Warnings for people, each once. */
export function createNotes(output: Pick<Output, "note">): Notes {
  let refused = 0;
  let told = new Set<string>();
  return {
    refused({ auditFilePath, offset, reason }) {
      refused++;
      if (refused <= refusedShown) output.note(`refused  ${auditFilePath}, byte ${offset}: ${reason}`);
      if (refused === refusedShown) output.note("Further refused lines are only counted.");
    },
    problems(problems) {
      const now = problems.map(({ path, message }) => `${path}: ${message}`);
      for (const words of now) if (!told.has(words)) output.note(words);
      told = new Set(now);
    },
    end({ progress }, dir) {
      if (progress.files > 0) return;
      output.note(
        `There is no audit log in ${dir}. Is auditing switched on (Audit.FsEvents), and may this account see .lucid_audit? docs/audit.md has both.`,
      );
    },
  };
}

function timeOf(micros: bigint): string {
  const milliseconds = Number(micros / 1000n);
  // Beyond what a Date can hold.
  if (milliseconds > 8.64e15) return `${micros} microseconds`;
  return new Date(milliseconds).toISOString();
}
