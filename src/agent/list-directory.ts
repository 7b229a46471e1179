/** One directory: its files' attributes, and the names of its subdirectories. */
import type { BigIntStats } from "node:fs";
import type { BlockingCalls } from "./blocking-calls.js";
import type { Excluder } from "./exclude.js";
import type { FileSystems } from "./file-systems.js";
import { hashFile, isStub } from "./hash.js";
import type { Children } from "./in-order.js";
import { type FileEntry, type LeftOutEntry, type Listing, noBytes } from "./listing.js";
import { type DirectoryEntry, type OpenDirectory, openDirectory } from "./open-directory.js";
import type { FilePath, StatPool, StatResult } from "./stat-pool.js";
import type { Throttle } from "./throttle.js";

/** What a walk met besides the files it recorded. */
export interface WalkStats {
  directories: number;
  files: number;
  symlinks: number;
  /** Sockets, pipes and devices. */
  specials: number;
  excluded: number;
  /** Directories of another file system, not entered. */
  otherFileSystems: number;
  /** Entries and directories that were gone when they were to be read. */
  vanished: number;
  leftOut: number;
  unreadable: number;
  /** Files to be hashed whose content could not be read, or changed meanwhile. */
  hashErrors: number;
  /** Files not hashed because their content is not on this disk. */
  stubsNotHashed: number;
}

/** What a walk knows everywhere. Paths and names hold one byte a character. */
export interface WalkContext {
  /** Absolute, without a separator at its end. */
  root: string;
  separator: "/" | "\\";
  /** The root's file system. */
  dev: bigint;
  oneFileSystem: boolean;
  hash: boolean;
  /** Paths of the share are separated by backslashes: a directory cannot have one in its name. */
  backslashSeparates: boolean;
  excluded: Excluder;
  throttle: Throttle | undefined;
  blocking: BlockingCalls;
  pool: StatPool;
  fileSystems: FileSystems;
  owners: Map<bigint, string>;
  stats: WalkStats;
  signal: AbortSignal;
}

/** Longer ones would not fit in a message; the server's own limit is lower still. */
const pathBytesAtMost = 256 * 1024;
const noChildren: Children = { names: [], resumeFirst: undefined };
const billion = 1_000_000_000n;

/**
 * Lists the directory in parts, and returns its subdirectories' names in byte order.
 * A directory that is gone, or excluded as another file system, has no parts; one that cannot be read says so in its last
 * part. The root must be readable.
 */
export async function* listDirectory(context: WalkContext, path: string): AsyncGenerator<Listing, Children> {
  const { stats } = context;
  const subdirectories: string[] = [];
  const listTimeMs = Date.now();
  const bytes = Buffer.from(path, "latin1");
  let held: Listing | undefined;
  let opened: OpenDirectory | undefined;
  try {
    await context.blocking.pause();
    opened = await enter(context, path);
    for (let last = opened === undefined; opened !== undefined && !last; ) {
      context.signal.throwIfAborted();
      const batch = await opened.next();
      last = batch.last;
      if (held !== undefined) yield { ...held, more: true, complete: false, unreadableReason: "" };
      held = {
        path: bytes,
        listTimeMs,
        files: [],
        leftOut: [],
        more: false,
        complete: true,
        unreadableReason: held?.unreadableReason ?? "",
      };
      await describe(context, path, opened, batch.entries, held, subdirectories);
    }
  } catch (error) {
    if (!isSystemError(error)) throw error;
    if (held === undefined && path === "/") throw new Error(`The root of the share cannot be read: ${error.message}`, { cause: error });
    if (held === undefined && isGone(error)) {
      stats.vanished++;
      return noChildren;
    }
    held ??= { path: bytes, listTimeMs, files: [], leftOut: [], more: false, complete: false, unreadableReason: "" };
    held.unreadableReason = reasonOf(error);
  } finally {
    if (opened?.close !== undefined) await opened.close();
  }
  if (held === undefined) return noChildren;
  held.complete = held.unreadableReason === "";
  if (!held.complete) stats.unreadable++;
  stats.directories++;
  yield held;
  return { names: subdirectories.sort(byteOrder), resumeFirst: undefined };
}

/** Names of the subdirectories alone, in byte order. None when the directory is gone; rejects when it cannot be read to its end. */
export async function listSubdirectories(context: WalkContext, path: string): Promise<string[]> {
  const subdirectories: string[] = [];
  let opened: OpenDirectory | undefined;
  try {
    opened = await enter(context, path);
    for (let last = opened === undefined; opened !== undefined && !last; ) {
      context.signal.throwIfAborted();
      const batch = await opened.next();
      last = batch.last;
      subdirectories.push(...(await directoriesAmong(context, path, opened, batch.entries)));
    }
  } catch (error) {
    if (!isSystemError(error)) throw error;
    if (isGone(error) && path !== "/") return [];
    const where = path === "/" ? "The root of the share" : Buffer.from(path, "latin1").toString();
    throw new Error(`${where} cannot be read again to resume the scan: ${error.message}. Make it readable, or start over with --restart.`, {
      cause: error,
    });
  } finally {
    if (opened?.close !== undefined) await opened.close();
  }
  return subdirectories.sort(byteOrder);
}

async function directoriesAmong(context: WalkContext, path: string, opened: OpenDirectory, entries: DirectoryEntry[]): Promise<string[]> {
  const kept = entries.filter(({ name }) => !context.excluded(path, name));
  const unknown = kept.filter(({ kind }) => kind === "unknown").map(({ name }) => name);
  const results = await statAll(context, pathsOf(opened.prefix, unknown), opened.local);
  const found = unknown.filter((_name, i) => {
    const result = results[i] as StatResult;
    return !(result instanceof Error) && result.isDirectory();
  });
  const names = [...kept.filter(({ kind }) => kind === "directory").map(({ name }) => name), ...found];
  return names.filter((name) => directoryFault(context, path, name) === undefined);
}

/** Why a subdirectory is not entered, or undefined. */
function directoryFault(context: WalkContext, path: string, name: string): string | undefined {
  if (path.length + name.length >= pathBytesAtMost) return `the directory's path has more than ${pathBytesAtMost} bytes`;
  // In a listing's path the server would take it for a separator, and the files for those of another directory.
  if (context.backslashSeparates && name.includes("\\")) return "the directory's name contains a separator (\\)";
  return undefined;
}

/** Undefined for a directory of another file system that is not to be entered. */
async function enter(context: WalkContext, path: string): Promise<OpenDirectory | undefined> {
  const below = path === "/" ? "" : context.separator === "/" ? path : path.replaceAll("/", context.separator);
  const opened = await openDirectory(context.root + below, context.separator, context.fileSystems, context.blocking);
  if (!context.oneFileSystem || opened.stats.dev === context.dev) return opened;
  context.stats.otherFileSystems++;
  if (opened.close !== undefined) await opened.close();
  return undefined;
}

/** Adds the entries to the listing, and the directories among them to `subdirectories`. */
async function describe(
  context: WalkContext,
  path: string,
  opened: OpenDirectory,
  entries: DirectoryEntry[],
  listing: Listing,
  subdirectories: string[],
): Promise<void> {
  const { stats } = context;
  const addDirectory = (name: string) => {
    const fault = directoryFault(context, path, name);
    if (fault === undefined) subdirectories.push(name);
    else leaveOut(context, listing, Buffer.from(name, "latin1"), fault);
  };
  const names: string[] = [];
  for (const { name, kind } of entries) {
    if (context.excluded(path, name)) stats.excluded++;
    else if (kind === "directory") addDirectory(name);
    else if (kind === "symlink") stats.symlinks++;
    else if (kind === "other") stats.specials++;
    else names.push(name);
  }
  const paths = pathsOf(opened.prefix, names);
  const results = await statAll(context, paths, opened.local);
  for (let i = 0; i < results.length; i++) {
    const result = results[i] as StatResult;
    const name = Buffer.from(names[i] as string, "latin1");
    if (result instanceof Error) recordError(context, listing, name, result);
    else if (result.isFile()) {
      const entry = toFileEntry(context, name, result);
      if (context.hash) entry.fileHash = await hashOf(context, paths[i] as FilePath, result);
      listing.files.push(entry);
    } else if (result.isDirectory()) addDirectory(names[i] as string);
    else if (result.isSymbolicLink()) stats.symlinks++;
    else stats.specials++;
  }
  stats.files += listing.files.length;
}

function recordError(context: WalkContext, listing: Listing, name: Buffer, error: NodeJS.ErrnoException): void {
  if (isGone(error)) context.stats.vanished++;
  // Without permission to pass through the directory, no entry of it can be seen: that is the directory's fault, not the entry's.
  else if (error.code === "EACCES" && context.separator === "/")
    listing.unreadableReason = "EACCES: its names can be read, but not its files' attributes";
  else leaveOut(context, listing, name, reasonOf(error));
}

function leaveOut(context: WalkContext, listing: Listing, name: Buffer, reason: string): void {
  const entry: LeftOutEntry = { name, reason };
  listing.leftOut.push(entry);
  context.stats.leftOut++;
}

async function statAll(context: WalkContext, paths: FilePath[], local: boolean): Promise<StatResult[]> {
  const { throttle, pool, signal } = context;
  if (throttle === undefined) return pool.lstatAll(paths, local);
  const results: StatResult[] = [];
  for (let from = 0; from < paths.length; from += throttle.batch) {
    const batch = paths.slice(from, from + throttle.batch);
    await throttle.take(batch.length, signal);
    results.push(...(await pool.lstatAll(batch, local)));
  }
  return results;
}

function toFileEntry(context: WalkContext, name: Uint8Array, file: BigIntStats): FileEntry {
  return {
    name,
    sizeBytes: file.size,
    atimeUnix: floorSeconds(file.atimeNs),
    mtimeUnix: floorSeconds(file.mtimeNs),
    ctimeUnix: floorSeconds(file.ctimeNs),
    // 0 is what a source without numbers says.
    frn: file.ino === 0n ? undefined : file.ino,
    allocatedBytes: file.blocks * 512n,
    linkCount: Number(file.nlink),
    // Windows has no uid: Node answers 0.
    owner: context.separator === "/" ? ownerOf(context.owners, file.uid) : "",
    fileHash: noBytes,
  };
}

async function hashOf(context: WalkContext, path: FilePath, file: BigIntStats): Promise<Uint8Array> {
  if (isStub(file)) {
    context.stats.stubsNotHashed++;
    return noBytes;
  }
  try {
    const hash = await hashFile(path, file, context.signal);
    if (hash !== undefined) return hash;
  } catch (error) {
    if (!isSystemError(error)) throw error;
  }
  context.stats.hashErrors++;
  return noBytes;
}

/** Text where it has the same bytes: a buffer for each file costs a tenth of the walk's own work. */
function pathsOf(prefix: string, names: string[]): FilePath[] {
  const plain = isAscii(prefix);
  return names.map((name) => (plain && isAscii(name) ? prefix + name : Buffer.from(prefix + name, "latin1")));
}

function isAscii(text: string): boolean {
  return !/[^\0-\x7f]/.test(text);
}

/** Nanoseconds to seconds, towards the past: BigInt's own division goes towards 0. */
export function floorSeconds(ns: bigint): bigint {
  return ns >= 0n ? ns / billion : -((billion - 1n - ns) / billion);
}

function ownerOf(owners: Map<bigint, string>, uid: bigint): string {
  let owner = owners.get(uid);
  if (owner === undefined) {
    owner = String(uid);
    owners.set(uid, owner);
  }
  return owner;
}

function byteOrder(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** An error of the file system, not of this program and not an abort. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && /^E[A-Z0-9]+$/.test((error as NodeJS.ErrnoException).code ?? "");
}

/** ENOTDIR: a file has taken the directory's place. */
function isGone(error: NodeJS.ErrnoException): boolean {
  return error.code === "ENOENT" || error.code === "ENOTDIR";
}

/** `EACCES: permission denied, scandir`; without the path, which the listing has. */
function reasonOf(error: NodeJS.ErrnoException): string {
  return error.message.replace(/ '.*'$/s, "");
}
