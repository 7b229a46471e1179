/** Walks a tree of files. Never opens a file, unless asked for its hash; follows no symlinks. */
import { setMaxListeners } from "node:events";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { BlockingCalls } from "./blocking-calls.js";
import { createExcluder, type ExcludeOptions } from "./exclude.js";
import { createFileSystems } from "./file-systems.js";
import { type Children, inOrder, type Turn } from "./in-order.js";
import { listDirectory, listSubdirectories, type WalkContext, type WalkStats } from "./list-directory.js";
import type { Listing } from "./listing.js";
import { createStatPool } from "./stat-pool.js";
import { createThrottle } from "./throttle.js";

export type { WalkStats } from "./list-directory.js";

export interface WalkOptions extends ExcludeOptions {
  /** Does not enter directories that are on another file system than the root. Default false. */
  oneFileSystem?: boolean;
  /** Attributes are asked for at most so many files a second. Default: no limit. */
  maxFilesPerSecond?: number | undefined;
  /** Reads every file for its SHA-256, except stubs. Default false. */
  hash?: boolean;
  /** The share's paths are separated by backslashes: directories with one in their names are left out. Default false. */
  backslashSeparates?: boolean;
  /** Path of the directory that was listed last: goes on with those after it. */
  resumeAfter?: Uint8Array | undefined;
  signal?: AbortSignal | undefined;
  /** Directories read at the same time. Default 32. */
  readAhead?: number;
  /** Counts what the walk meets; see newWalkStats. */
  stats?: WalkStats;
}

const defaultReadAhead = 32;
/** At some 400 bytes a file, 8 MB. */
const filesHeldAtMost = 20_000;

export function newWalkStats(): WalkStats {
  return {
    directories: 0,
    files: 0,
    symlinks: 0,
    specials: 0,
    excluded: 0,
    otherFileSystems: 0,
    vanished: 0,
    leftOut: 0,
    unreadable: 0,
    hashErrors: 0,
    stubsNotHashed: 0,
  };
}

/**
 * Every directory of the tree, each before its subdirectories, siblings in byte order: so the path of the last whole
 * directory is a position to resume from, even if that directory is gone by then. What can't be read is said in the
 * listing, and the walk goes on. Rejects when the root can't be read, when it is another directory at the end than at the
 * beginning (a file system was unmounted under the walk: all else would look deleted), or with the signal's reason.
 */
export async function* walk(root: string, options: WalkOptions = {}): AsyncGenerator<Listing> {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  // Every reader that waits for the throttle listens.
  setMaxListeners(0, signal);
  try {
    const { context, identity } = await openRoot(root, options, signal);
    const first: Turn = { path: "/", resume: options.resumeAfter === undefined ? undefined : componentsOf(options.resumeAfter) };
    const limits = { directories: options.readAhead ?? defaultReadAhead, files: filesHeldAtMost };
    for await (const listing of inOrder(first, (turn) => readTurn(context, turn), limits, signal)) yield listing;
    if ((await rootIdentity(root)) !== identity) {
      throw new Error(
        `${root} is another directory than when the walk began; was a file system unmounted? Run the scan again once it is back.`,
      );
    }
  } finally {
    // Readers that are ahead end too.
    stop.abort();
  }
}

function readTurn(context: WalkContext, turn: Turn): AsyncGenerator<Listing, Children> {
  return turn.resume === undefined ? listDirectory(context, turn.path) : passThrough(context, turn.path, turn.resume);
}

/** A directory that was listed before the walk resumed: what of it comes after the position. */
async function* passThrough(context: WalkContext, directory: string, resume: string[]): AsyncGenerator<Listing, Children> {
  const names = await listSubdirectories(context, directory);
  const [wanted, ...rest] = resume;
  if (wanted === undefined) return { names, resumeFirst: undefined };
  const later = names.filter((name) => name >= wanted);
  return { names: later, resumeFirst: later[0] === wanted ? rest : undefined };
}

async function openRoot(root: string, options: WalkOptions, signal: AbortSignal): Promise<{ context: WalkContext; identity: string }> {
  signal.throwIfAborted();
  const real = await fs.realpath(root).catch((error: Error) => {
    throw new Error(`The root of the share cannot be read: ${error.message}`, { cause: error });
  });
  const stats = await fs.stat(real, { bigint: true });
  if (!stats.isDirectory()) throw new Error(`${root} is not a directory. Give the root of the share.`);
  // Windows: the \\?\ form has no limit of 260 characters.
  const bytes = Buffer.from(path.toNamespacedPath(real)).toString("latin1");
  const blocking = new BlockingCalls();
  const context: WalkContext = {
    root: bytes.endsWith(path.sep) ? bytes.slice(0, -1) : bytes,
    separator: path.sep,
    dev: stats.dev,
    oneFileSystem: options.oneFileSystem ?? false,
    hash: options.hash ?? false,
    backslashSeparates: options.backslashSeparates ?? false,
    excluded: createExcluder(options),
    throttle: options.maxFilesPerSecond === undefined ? undefined : createThrottle(options.maxFilesPerSecond),
    blocking,
    pool: createStatPool(blocking),
    fileSystems: await createFileSystems(real),
    owners: new Map(),
    stats: options.stats ?? newWalkStats(),
    signal,
  };
  return { context, identity: await rootIdentity(root) };
}

async function rootIdentity(root: string): Promise<string> {
  const { dev, ino } = await fs.stat(root, { bigint: true });
  return `${dev}:${ino}`;
}

/** `/a/b` as a, b; one byte a character. */
function componentsOf(directory: Uint8Array): string[] {
  return Buffer.from(directory)
    .toString("latin1")
    .split("/")
    .filter((name) => name !== "");
}
