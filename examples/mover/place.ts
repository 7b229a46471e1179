/** One file takes another's place, and a writer that comes in between loses nothing. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { TierClaim } from "../../src/gen/frostline/v1/tier_pb.js";
import { isUntouched, listNames, type Stats, statFile, syncDirectory } from "./files.js";

/** Agents leave this directory out; it is on the share, so that what was made in it takes a file's place by a rename. */
export const workDirectoryName = ".frostline";

/** Where a claim's own files are; nobody else's have these names. */
export async function workFile(
  root: string,
  { tierId, leaseToken }: TierClaim,
  kind: "stub" | "content" | "original" | "replaced",
): Promise<string> {
  const dir = path.join(root, workDirectoryName);
  await fs.mkdir(dir, { recursive: true });
  return path.join(dir, `${tierId}.${leaseToken}.${kind}`);
}

/** The file itself, under the name that an earlier claim kept it by until all was done. */
export async function findOriginal(root: string, tierId: bigint): Promise<string | undefined> {
  const dir = path.join(root, workDirectoryName);
  const name = (await listNames(dir)).find((entry) => entry.startsWith(`${tierId}.`) && entry.endsWith(".original"));
  return name && path.join(dir, name);
}

/** Takes away what claims of the object left behind, killed ones too. */
export async function clearWorkFiles(root: string, tierId: bigint): Promise<void> {
  const dir = path.join(root, workDirectoryName);
  for (const name of await listNames(dir)) {
    if (name.startsWith(`${tierId}.`)) await fs.rm(path.join(dir, name), { force: true });
  }
}

/**
 * Puts `fresh` in the place of `file`, which was `expected` when it was copied and is kept under the name `original`. False: it was written to meanwhile, and is in its place as before.
 */
export async function takePlace(fresh: string, file: string, original: string, expected: Stats): Promise<boolean> {
  const kept = await keep(file, original);
  if (!isUntouched(expected, await statFile(kept ? original : file))) {
    await fs.rm(original, { force: true });
    return false;
  }
  await fs.rename(fresh, file);
  await syncDirectory(path.dirname(file));
  if (!kept || isUntouched(expected, await statFile(original))) return true;
  // Somebody had the file open and wrote to it just now.
  await fs.rename(original, file);
  await syncDirectory(path.dirname(file));
  return false;
}

/** A second name for the file. False where the file system has no hard links. */
async function keep(file: string, original: string): Promise<boolean> {
  try {
    await fs.link(file, original);
    return true;
  } catch (error) {
    if (["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}
