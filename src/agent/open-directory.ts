/** The entries of a directory, in batches, whatever its size and however long its path. */
import * as fs from "node:fs";
import { promisify } from "node:util";
import type { BlockingCalls } from "./blocking-calls.js";
import type { FileSystems } from "./file-systems.js";

/** A name holds one byte a character: compact, exact, and in byte order when sorted. */
export interface DirectoryEntry {
  name: string;
  kind: "directory" | "symlink" | "other" | "unknown" | "file";
}

export interface OpenDirectory {
  /** What to put before a name to reach the entry; one byte a character. */
  prefix: string;
  /** The directory's own attributes. */
  stats: fs.BigIntStats;
  /** It is on a local disk. */
  local: boolean;
  /** The next entries, without `.` and `..`; at most 4,000. Not to be called after the last. */
  next(): Promise<Batch>;
  /** Set when there is something to close. */
  close: (() => Promise<void>) | undefined;
}

export interface Batch {
  entries: DirectoryEntry[];
  last: boolean;
}

const batchEntries = 4000;
/** Linux takes paths up to 4,096 bytes with the NUL; below this even a 255-byte name fits behind. */
const plainPathBytes = 3800;
/** On a local disk a directory whose own size is at most this has some ten thousand entries at most. */
const wholeReadSizeBytes = 256n * 1024n;
/** open(2)'s O_PATH, which Node does not name: passing through a directory needs no permission to list it. */
const O_PATH = 0o10000000;

const lstat = promisify(fs.lstat) as (path: Buffer, options: { bigint: true }) => Promise<fs.BigIntStats>;
const opendir = promisify(fs.opendir) as unknown as (path: Buffer, options: { encoding: "buffer"; bufferSize: number }) => Promise<fs.Dir>;
const asDirents = { encoding: "latin1", withFileTypes: true } as const;
const readdir = promisify(fs.readdir) as unknown as (path: Buffer, options: typeof asDirents) => Promise<fs.Dirent[]>;
const readdirSync = fs.readdirSync as unknown as (path: Buffer, options: typeof asDirents) => fs.Dirent[];
const open = promisify(fs.open);
const closeFd = promisify(fs.close);

/**
 * Opens a directory for listing; symlinks are not followed. `path` is absolute, one byte a character, without a separator at its end.
 * Rejects with the system's error (ENOENT, ENOTDIR, EACCES, ...).
 */
export async function openDirectory(
  path: string,
  separator: string,
  fileSystems: FileSystems,
  blocking: BlockingCalls,
): Promise<OpenDirectory> {
  const here = fileSystems.allLocal && blocking.advisable;
  const long = process.platform === "linux" && path.length > plainPathBytes ? await openLong(path) : undefined;
  const at = long === undefined ? path : `/proc/self/fd/${long}`;
  const closeLong = long === undefined ? undefined : () => closeFd(long);
  try {
    // `/`, `C:\\` and a descriptor's link need the separator; anywhere else it would follow a symlink.
    const needsSeparator = long !== undefined || path === "" || (separator === "\\" && path.endsWith(":"));
    const self = Buffer.from(needsSeparator ? `${at}${separator}` : at, "latin1");
    const stats = here ? fs.lstatSync(self, { bigint: true }) : await lstat(self, { bigint: true });
    if (!stats.isDirectory()) throw Object.assign(new Error(`ENOTDIR: not a directory, '${path}'`), { code: "ENOTDIR" });
    const local = fileSystems.allLocal || (await fileSystems.isLocal(self, stats.dev));
    const entries = local && stats.size <= wholeReadSizeBytes ? await readWhole(self, here ? blocking : undefined) : undefined;
    const reader = entries === undefined ? await readGradually(self) : inSlices(entries);
    return { prefix: `${at}${separator}`, stats, local, next: reader.next, close: both(reader.close, closeLong) };
  } catch (error) {
    await closeLong?.();
    throw error;
  }
}

type Reader = Pick<OpenDirectory, "next" | "close">;

/** Four times as fast as opening, reading and closing. On this thread with `blocking`. Undefined where it can't be read so. */
async function readWhole(path: Buffer, blocking: BlockingCalls | undefined): Promise<fs.Dirent[] | undefined> {
  try {
    if (blocking === undefined) return await readdir(path, asDirents);
    const startMs = performance.now();
    const dirents = readdirSync(path, asDirents);
    blocking.took(performance.now() - startMs);
    return dirents;
  } catch (error) {
    // A file system that tells no types: Node then asks for each, and cannot join this path with a name that is text.
    if ((error as NodeJS.ErrnoException).code === "ERR_INVALID_ARG_TYPE") return undefined;
    throw error;
  }
}

function inSlices(dirents: fs.Dirent[]): Reader {
  let from = 0;
  const next = async () => {
    const entries = dirents.slice(from, from + batchEntries).map((dirent) => ({ name: dirent.name, kind: kindOf(dirent) }));
    from += batchEntries;
    return { entries, last: from >= dirents.length };
  };
  return { next, close: undefined };
}

/** Holds a batch in memory, not a directory of millions. */
async function readGradually(path: Buffer): Promise<Reader> {
  const directory = await opendir(path, { encoding: "buffer", bufferSize: 1024 });
  const next = async () => {
    const entries = await readBatch(directory);
    return { entries, last: entries.length < batchEntries };
  };
  return { next, close: () => directory.close() };
}

function both(first: Reader["close"], second: Reader["close"]): Reader["close"] {
  if (first === undefined || second === undefined) return first ?? second;
  return () => first().finally(second);
}

function readBatch(directory: fs.Dir): Promise<DirectoryEntry[]> {
  return new Promise((resolve, reject) => {
    const batch: DirectoryEntry[] = [];
    const next = () => {
      directory.read((error, dirent) => {
        if (error) return reject(error);
        if (dirent === null) return resolve(batch);
        const name = (dirent.name as unknown as Buffer).toString("latin1");
        if (batch.push({ name, kind: kindOf(dirent) }) === batchEntries) return resolve(batch);
        next();
      });
    };
    next();
  });
}

function kindOf(dirent: fs.Dirent): DirectoryEntry["kind"] {
  if (dirent.isFile()) return "file";
  if (dirent.isDirectory()) return "directory";
  // Windows calls every reparse point a link, also deduplicated and tiered files; only lstat knows.
  if (dirent.isSymbolicLink()) return process.platform === "win32" ? "unknown" : "symlink";
  if (dirent.isFIFO() || dirent.isSocket() || dirent.isBlockDevice() || dirent.isCharacterDevice()) return "other";
  return "unknown";
}

/** A descriptor of a directory whose path is too long for one system call: hop by hop, each relative to the one before. */
async function openLong(path: string): Promise<number> {
  if (!fs.existsSync("/proc/self/fd")) {
    throw Object.assign(new Error("ENAMETOOLONG: the path is over 4,096 bytes, and /proc is not mounted"), { code: "ENAMETOOLONG" });
  }
  const flags = O_PATH | fs.constants.O_DIRECTORY | fs.constants.O_NOFOLLOW;
  let fd: number | undefined;
  for (let from = 0; from < path.length; ) {
    const to = path.length - from <= plainPathBytes ? path.length : path.lastIndexOf("/", from + plainPathBytes);
    const hop = `${fd === undefined ? "" : `/proc/self/fd/${fd}`}${path.slice(from, to)}`;
    const previous = fd;
    try {
      fd = await open(Buffer.from(hop, "latin1"), flags);
    } finally {
      if (previous !== undefined) await closeFd(previous);
    }
    from = to;
  }
  return fd as number;
}
