/** Files, with care: every copy is on disk and verified before anything relies on it. */
import { createHash } from "node:crypto";
import { type BigIntStats, constants } from "node:fs";
import * as fs from "node:fs/promises";
import * as path from "node:path";

export type Stats = BigIntStats;

/** As the server knows a file. */
export interface Stamp {
  sizeBytes: bigint;
  /** Whole seconds, rounded down. */
  mtimeUnix: bigint;
  frn?: bigint;
}

const blockBytes = 1024 * 1024;

/** Undefined when nothing is there. */
export async function statFile(file: string): Promise<Stats | undefined> {
  return fs.lstat(file, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw error;
  });
}

export function stampOf({ size, mtimeNs, ino }: Stats): Stamp {
  return { sizeBytes: size, mtimeUnix: floorSeconds(mtimeNs), frn: ino };
}

export function floorSeconds(ns: bigint): bigint {
  const seconds = ns / 1_000_000_000n;
  return seconds * 1_000_000_000n > ns ? seconds - 1n : seconds;
}

/** The same file, and not written to in between. */
export function isUntouched(before: Stats, after: Stats | undefined): boolean {
  return (
    after !== undefined &&
    after.dev === before.dev &&
    after.ino === before.ino &&
    after.size === before.size &&
    after.mtimeNs === before.mtimeNs
  );
}

/** Copies to a new file, which is on disk afterwards and was read back. Returns the SHA-256 in hex. Throws when `signal` aborts, and removes the copy. */
export async function copyVerified(from: string, to: string, signal: AbortSignal): Promise<string> {
  try {
    const written = await copy(from, to, signal);
    const readBack = await hashFile(to, signal);
    if (written !== readBack) throw new Error(`${to} reads back with another SHA-256 than was written`);
    return written;
  } catch (error) {
    await fs.rm(to, { force: true });
    throw error;
  }
}

async function copy(from: string, to: string, signal: AbortSignal): Promise<string> {
  // Never over something that is there.
  return withFile(to, "wx", async (target) => {
    const sha256 = await readThrough(from, signal, async (block) => {
      for (let at = 0; at < block.length; ) at += (await target.write(block, at)).bytesWritten;
    });
    await target.sync();
    return sha256;
  });
}

export async function hashFile(file: string, signal: AbortSignal): Promise<string> {
  return readThrough(file, signal, async () => {});
}

/** Hands out the content block by block; returns its SHA-256 in hex. */
async function readThrough(file: string, signal: AbortSignal, use: (block: Buffer) => Promise<void>): Promise<string> {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(blockBytes);
  return withFile(file, await readFlags(file), async (source) => {
    for (;;) {
      signal.throwIfAborted();
      const { bytesRead } = await source.read(buffer, 0, blockBytes);
      if (bytesRead === 0) return hash.digest("hex");
      const block = buffer.subarray(0, bytesRead);
      hash.update(block);
      await use(block);
    }
  });
}

/** The content of a small file. */
export async function readWhole(file: string): Promise<Buffer> {
  return withFile(file, await readFlags(file), (handle) => handle.readFile());
}

/** To be copied is not to be used: the access time stays, where the system lets this process leave it. */
async function readFlags(file: string): Promise<number> {
  const quiet = constants.O_RDONLY | (constants.O_NOATIME ?? 0);
  try {
    await (await fs.open(file, quiet)).close();
    return quiet;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EPERM") return constants.O_RDONLY;
    throw error;
  }
}

async function withFile<T>(file: string, flags: string | number, work: (handle: fs.FileHandle) => Promise<T>): Promise<T> {
  const handle = await fs.open(file, flags, 0o600);
  try {
    return await work(handle);
  } finally {
    await handle.close();
  }
}

/** Writes a small file, which is on disk afterwards. */
export async function writeNew(file: string, bytes: Buffer): Promise<void> {
  await withFile(file, "wx", async (handle) => {
    await handle.writeFile(bytes);
    await handle.sync();
  });
}

/** Gives a file the owner, mode and times of another. Owners only where this process may. */
export async function dress(file: string, like: Pick<Stats, "mode" | "uid" | "gid" | "mtimeNs" | "atimeNs">): Promise<Stats> {
  await fs.chown(file, Number(like.uid), Number(like.gid)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EPERM") throw error;
  });
  await fs.chmod(file, Number(like.mode & 0o7777n));
  await fs.utimes(file, toSeconds(like.atimeNs), toSeconds(like.mtimeNs));
  return withFile(file, "r", async (handle) => {
    await handle.sync();
    return handle.stat({ bigint: true });
  });
}

/** Microseconds, rounded down: a double of this size holds them, and never rounds up into the next second. */
function toSeconds(ns: bigint): number {
  const seconds = floorSeconds(ns);
  return Number(seconds) + Number((ns - seconds * 1_000_000_000n) / 1000n) / 1_000_000;
}

/** Names that were made, or taken away, stay so when the power fails. */
export async function syncDirectory(dir: string): Promise<void> {
  await withFile(dir, "r", (handle) => handle.sync());
}

/** Of a directory that is not there, nothing. */
export async function listNames(dir: string): Promise<string[]> {
  return fs.readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
}

/** The file that a claim's names stand for. Throws when a symbolic link on the way leads out of the root. */
export async function locate(root: string, names: readonly string[]): Promise<string> {
  if (names.length === 0 || names.some((name) => name === "" || name === "." || name === ".." || /[/\0]/.test(name)))
    throw new Error(`not a path: ${JSON.stringify(names)}`);
  const file = path.join(root, ...names);
  const parent = await fs.realpath(path.dirname(file)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  const top = await fs.realpath(root);
  if (parent !== undefined && parent !== top && !parent.startsWith(`${top}${path.sep}`)) throw new Error(`${file} is not below ${root}`);
  return file;
}
