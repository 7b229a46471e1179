/** A CSV of files as the source of a scan. */
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import type { Chunk } from "../gen/frostline/v1/scan_pb.js";
import { foldCase } from "../paths.js";
import { toChunks } from "./chunker.js";
import { splitPath, toFileEntry } from "./csv-entry.js";
import { type Column, readRows } from "./csv-rows.js";
import { externalSort, type Sortable, type SortedRuns } from "./external-sort.js";
import type { Listing } from "./listing.js";

export interface CsvOptions {
  /** Whether names that differ only in case are different names on the share. */
  caseSensitive: boolean;
  /** NTFS and SMB: `\` separates too. */
  backslashSeparates: boolean;
  /** The CSV is the whole share: its directories, and those above them, are complete. Default false. */
  full?: boolean;
  signal?: AbortSignal;
  /** Where the sorted rows are kept meanwhile, about as large as the CSV. Default: the system's directory for such files. */
  tempDir?: string;
}

/** A row that is not sent: nothing in it says which file it is. */
export interface CsvProblem {
  line: number;
  reason: string;
}

export interface CsvSource {
  /** Chunks after the directory that a resume token names; all of them without one. May be called again. */
  source(resumeAfter: Uint8Array | undefined): AsyncIterable<Chunk>;
  /** Rows without the problems. */
  rows: number;
  /** The first 1,000. */
  problems: CsvProblem[];
  problemCount: number;
  /** Removes the temporary files. */
  close(): Promise<void>;
}

const problemsKept = 1000;
const partFiles = 4000;
/** Order of the values of a sorted row, behind its key. */
const columns: readonly Column[] = [
  "size_bytes",
  "atime_unix",
  "mtime_unix",
  "ctime_unix",
  "frn",
  "allocated_bytes",
  "link_count",
  "owner",
  "file_hash",
];

/**
 * Reads and sorts the CSV, so that each directory is listed once, however the rows are ordered; memory stays bounded.
 * A bad number leaves its file out, with line and reason in the scan's problems. Rejects when the file is no CSV with the
 * required columns, and for a full import when any row does not name its file: what it names would be taken for deleted.
 */
export async function csvSource(file: string, options: CsvOptions): Promise<CsvSource> {
  const { mtimeMs } = await fs.stat(file);
  const directory = await fs.mkdtemp(path.join(options.tempDir ?? os.tmpdir(), "frostline-import-"));
  const removeAll = () => fs.rm(directory, { recursive: true, force: true });
  const counts = { rows: 0, problems: [] as CsvProblem[], problemCount: 0 };
  try {
    const runs = await externalSort(sortables(file, options, counts), directory);
    if (options.full === true && counts.problemCount > 0) throw unreadableRows(file, counts);
    // The rows are as old as the file; what happened on the share since is newer.
    const listTimeMs = Math.min(Math.floor(mtimeMs), Date.now());
    return {
      ...counts,
      source: (resumeAfter) => toChunks(listings(runs, options, listTimeMs, resumeAfter), { resumeAfter }),
      close: removeAll,
    };
  } catch (error) {
    await removeAll();
    throw error;
  }
}

async function* sortables(
  file: string,
  options: CsvOptions,
  counts: Pick<CsvSource, "rows" | "problems" | "problemCount">,
): AsyncGenerator<Sortable> {
  const refuse = (line: number, reason: string) => {
    counts.problemCount++;
    if (counts.problems.length < problemsKept) counts.problems.push({ line, reason });
  };
  for await (const { line, fields } of readRows(file, options.signal)) {
    if ("problem" in fields) {
      refuse(line, fields.problem);
      continue;
    }
    const parts = splitPath(fields.path ?? "", options.backslashSeparates);
    if ("problem" in parts) {
      refuse(line, parts.problem);
      continue;
    }
    counts.rows++;
    yield [
      keyOf(parts.directory, options.caseSensitive),
      parts.directory,
      parts.name,
      String(line),
      ...columns.map((name) => fields[name] ?? ""),
    ];
  }
}

/**
 * Sorts directories as a walk would visit them: each before its subdirectories. A NUL, which no name has, instead of the
 * separator keeps `/a/b` before `/a-b`.
 */
function keyOf(directory: string, caseSensitive: boolean): string {
  if (directory === "/") return "";
  const folded = caseSensitive ? directory : Buffer.from(foldCase(Buffer.from(directory, "latin1").toString())).toString("latin1");
  return folded.replaceAll("/", "\0");
}

/** Groups the sorted rows by directory, in parts of a bounded size. */
async function* listings(
  runs: SortedRuns,
  options: CsvOptions,
  listTimeMs: number,
  resumeAfter: Uint8Array | undefined,
): AsyncGenerator<Listing> {
  const complete = options.full === true;
  const newListing = (directory: string): Listing => {
    const bytes = Buffer.from(directory, "latin1");
    return { path: bytes, listTimeMs, files: [], leftOut: [], more: false, complete, unreadableReason: "" };
  };
  const after = resumeAfter === undefined ? undefined : keyOf(Buffer.from(resumeAfter).toString("latin1"), options.caseSensitive);
  let key = after;
  let current: Listing | undefined;
  for await (const [rowKey, directory, name, line, ...values] of runs.read() as AsyncIterable<
    [string, string, string, string, ...string[]]
  >) {
    options.signal?.throwIfAborted();
    if (after !== undefined && rowKey <= after) continue;
    if (rowKey !== key || current === undefined) {
      if (current !== undefined) yield current;
      if (complete) for (const above of unlistedAbove(directory, rowKey, key)) yield newListing(above);
      current = newListing(directory);
      key = rowKey;
    } else if (current.files.length + current.leftOut.length >= partFiles) {
      yield { ...current, more: true, complete: false };
      current = { ...current, files: [], leftOut: [] };
    }
    const entry = toFileEntry(name, Object.fromEntries(columns.map((column, i) => [column, values[i] ?? ""])));
    if ("problem" in entry) current.leftOut.push({ name: Buffer.from(name, "latin1"), reason: `line ${line}: ${entry.problem}` });
    else current.files.push(entry);
  }
  if (current !== undefined) yield current;
  // A whole share without a file still has its root.
  else if (complete && after === undefined) yield newListing("/");
}

/** Directories above `directory` that have no rows of their own and were not listed for the one before, from the root down. */
function unlistedAbove(directory: string, key: string, keyBefore: string | undefined): string[] {
  const names = directory === "/" ? [] : directory.slice(1).split("/");
  const keys = key.split("\0");
  const above: string[] = [];
  for (let depth = 0; depth < names.length; depth++) {
    const aboveKey = keys.slice(0, depth + 1).join("\0");
    const listed = keyBefore !== undefined && (keyBefore === aboveKey || keyBefore.startsWith(`${aboveKey}\0`));
    if (!listed) above.push(`/${names.slice(0, depth).join("/")}`);
  }
  return above;
}

function unreadableRows(file: string, { problems, problemCount }: Pick<CsvSource, "problems" | "problemCount">): Error {
  const some = problems.slice(0, 3).map(({ line, reason }) => `line ${line}: ${reason}`);
  return new Error(
    `${file}: ${problemCount} rows do not say which file they are (${some.join("; ")}). A full import takes what is not listed ` +
      "for deleted, so it needs every row. Mend the rows, or import without --full.",
  );
}
