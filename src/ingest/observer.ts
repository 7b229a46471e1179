/** What ingest tells of its work: once a segment or a transaction, never once a file. */
import type { Counts } from "./audit/counts.js";

/** `wait`: for a connection, a turn, a lock, or the segment before. */
export const segmentPhases = ["wait", "copy", "diff", "merge", "commit"] as const;
export type SegmentPhase = (typeof segmentPhases)[number];

/** Of a path that could not be taken, a name, a value; `left_out` by the agent, with its reason; twice in one listing. */
export const problemKinds = ["unreadable", "directory", "name", "value", "left_out", "duplicate"] as const;
export type ProblemKind = (typeof problemKinds)[number];

/** How files came out of a comparison with what was known. */
export interface FileChanges {
  added: number;
  changed: number;
  unchanged: number;
  missing: number;
  moved: number;
}

/** A segment that is committed. */
export interface SegmentDone extends Omit<FileChanges, "moved"> {
  scanId: bigint;
  writer: string;
  files: number;
  directories: number;
  problems: readonly { kind: ProblemKind }[];
  seconds: Readonly<Record<SegmentPhase, number>>;
}

/** An open stream, asked for what it holds when somebody looks. */
export interface HeldByStream {
  /** Of rows that wait for the database. */
  readonly heldBytes: number;
  readonly segmentsInFlight: number;
}

export interface IngestObserver {
  streamOpened(stream: HeldByStream): void;
  streamClosed(stream: HeldByStream): void;
  segmentDone(segment: SegmentDone): void;
  /** By a transaction of the end of a scan. */
  filesFinished(changes: Partial<FileChanges>): void;
  /** By a transaction that is committed. */
  auditDone(counts: Counts, seconds: number): void;
}
