/** The target: a directory, named by a file: URI. An object has a directory of its own there, each copy a name of its own. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { TierClaim } from "../../src/gen/frostline/v1/tier_pb.js";
import { hashFile, listNames, statFile, syncDirectory } from "./files.js";
import type { Stub } from "./stub.js";

function toPath(uri: string): string {
  if (!uri.startsWith("file:///")) throw new Error(`this mover copies to file: targets only, not to ${JSON.stringify(uri)}`);
  return fileURLToPath(uri);
}

/** A name for this claim's copy. Two claims of one object never write to the same. */
export async function newCopy(claim: TierClaim): Promise<{ file: string; uri: string }> {
  const dir = objectDirectory(claim);
  await fs.mkdir(dir, { recursive: true });
  const file = path.join(dir, claim.leaseToken);
  return { file, uri: pathToFileURL(file).href };
}

function objectDirectory({ targetUri, shareName, tierId }: TierClaim): string {
  return path.join(toPath(targetUri), encodeURIComponent(shareName).replaceAll(".", "%2E"), String(tierId));
}

/** The directories that lead to a copy are as lasting as the copy. */
export async function settleCopy(claim: TierClaim): Promise<void> {
  const dir = objectDirectory(claim);
  for (const made of [dir, path.dirname(dir), path.dirname(path.dirname(dir))]) await syncDirectory(made);
}

/** Whether the copy that a stub names is there, whole and right. */
export async function isCopyGood({ objectUri, sizeBytes, sha256 }: Stub, signal: AbortSignal): Promise<boolean> {
  const file = toPath(objectUri);
  const stats = await statFile(file);
  return stats?.isFile() === true && stats.size === sizeBytes && (await hashFile(file, signal)) === sha256;
}

export function copyPath(objectUri: string): string {
  return toPath(objectUri);
}

/** Deletes a copy of the object; one that is not there is gone already. */
export async function removeCopy(tierId: bigint, objectUri: string): Promise<void> {
  const file = toPath(objectUri);
  // Whatever anybody reported: this deletes copies, and nothing else.
  if (path.basename(path.dirname(file)) !== String(tierId))
    throw new Error(`${objectUri} is no copy that a mover made of object ${tierId}`);
  await fs.rm(file, { force: true });
  // Fails while other copies of the object are there, as it should.
  await fs.rmdir(path.dirname(file)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOTEMPTY" && error.code !== "ENOENT") throw error;
  });
}

/** Copies that earlier claims of the object left; the one at `keptUri` stays. */
export async function removeOtherCopies(claim: TierClaim, keptUri: string): Promise<void> {
  const dir = objectDirectory(claim);
  for (const name of await listNames(dir)) {
    const file = path.join(dir, name);
    if (pathToFileURL(file).href !== keptUri) await fs.rm(file, { force: true });
  }
}
