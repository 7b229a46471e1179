/** The closed profile of rule expressions: its variables, units, ranges and limits. docs/rules.md, "Expressions", is for its users. */

/** What a rule can say of a file. Absent is the empty value ("" or 0), never null; times are unix seconds (UTC). */
export interface FileValues {
  share: string;
  path: string;
  dir: string;
  name: string;
  extension: string;
  owner: string;
  size: bigint;
  atime: bigint;
  mtime: bigint;
  ctime: bigint;
  last_used: bigint;
  tier_state: string;
}

export type FileVariable = keyof FileValues;
export type StringVariable = "share" | "path" | "dir" | "name" | "extension" | "owner" | "tier_state";
export type NumericVariable = Exclude<FileVariable, StringVariable>;
export type ValueType = "bool" | "string" | "int" | "time" | "duration";

export const fileVariableTypes: Readonly<Record<FileVariable, "string" | "int" | "time">> = {
  share: "string",
  path: "string",
  dir: "string",
  name: "string",
  extension: "string",
  owner: "string",
  size: "int",
  atime: "time",
  mtime: "time",
  ctime: "time",
  last_used: "time",
  tier_state: "string",
};

/** Powers of 1024, as Windows Explorer, `ls -h` and PostgreSQL count. */
export const units: Readonly<Record<string, bigint>> = {
  KB: 1024n,
  MB: 1024n ** 2n,
  GB: 1024n ** 3n,
  TB: 1024n ** 4n,
  PB: 1024n ** 5n,
};

export interface Range {
  low: bigint;
  high: bigint;
}

export const int64: Range = { low: -(2n ** 63n), high: 2n ** 63n - 1n };
/** The years 0001 to 9999, in unix seconds: CEL's timestamps, and what a scan accepts. */
export const timeRange: Range = { low: -62_135_596_800n, high: 253_402_300_799n };
/**
 * Ten thousand years either way, in seconds, as a protobuf Duration. CEL's own 292 years would make
 * `now - last_used` an error for a file whose time is 1601, which is NTFS's zero.
 */
export const durationRange: Range = { low: -315_576_000_000n, high: 315_576_000_000n };
/** A duration that is written out: what the CEL library reads. Some 292 years, in seconds. */
export const writtenDurationSecondsAtMost = 9_223_372_036n;

/** The states that `tier_state` can name; "" is a file that is not an object of any tier. */
export const tierStates: readonly string[] = ["", "PLANNED", "STUBBED", "REHYDRATED", "DELETED"];

/** In UTF-16 units. Parsing takes some 30 ms then. */
export const sourceLengthAtMost = 10_000;
/** Brackets within brackets: what the parser's recursion sees. */
export const nestingAtMost = 50;
/** Operators within operators: what the recursion of the checker, the evaluator and PostgreSQL sees. */
export const depthAtMost = 100;
/** In UTF-16 units. Together with the next, far below what PostgreSQL calls "too complex" (test/cel-glob.test.ts). */
export const globLengthAtMost = 500;
export const globWildcardsAtMost = 50;

/** A rule's expression cannot be used. `line` and `column` count from 1, columns in characters. */
export class ExpressionError extends Error {
  readonly line: number;
  readonly column: number;
  readonly reason: string;

  constructor(line: number, column: number, reason: string) {
    super(`line ${line}, column ${column}: ${reason}`);
    this.name = "ExpressionError";
    this.line = line;
    this.column = column;
    this.reason = reason;
  }
}
