/**
 * STUB: the content goes to the target, and a stub takes the file's place.
 *
 * Whenever this is killed, the file is in its place, or its stub is and the copy that it names is whole; the next claim
 * finds out which.
 */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { isAccepted, type MoverClient } from "./client.js";
import { copyVerified, dress, floorSeconds, locate, type Stats, stampOf, statFile, syncDirectory, writeNew } from "./files.js";
import { type Lease, LeaseLost } from "./lease.js";
import { clearWorkFiles, findOriginal, takePlace, workFile } from "./place.js";
import { formatStub, readStub, type Stub, stubOf } from "./stub.js";
import { isCopyGood, newCopy, removeCopy, removeOtherCopies, settleCopy } from "./target.js";

export type Done = "stubbed" | "skipped";

/** It failed, and the file is in its place as it was. */
export class FileUntouched extends Error {}

/** Throws LeaseLost, and whatever goes wrong with the file system. */
export async function stubFile(client: MoverClient, lease: Lease, root: string): Promise<Done> {
  const { claim } = lease;
  const file = await locate(root, claim.pathNames);
  let before = await statFile(file);
  // The next scan tells where an announced stub is, if somebody has renamed it.
  if (!before && claim.stub) throw new Error(`nothing is at ${claim.path}, where a stub was to be`);
  if (!before?.isFile()) return skip(client, lease, root, `There is no regular file at ${claim.path}.`);
  const stub = await readStub(file, before);
  if (stub !== undefined) {
    if (stub.tierId !== claim.tierId) throw new Error(`${claim.path} is the stub of object ${stub.tierId}: nothing to tier`);
    if (await isCopyGood(stub, lease.signal)) return reportStubbed(client, lease, root, stub, before);
    before = await putBack(root, file, claim.tierId);
  }
  const { planned } = claim;
  if (before.size !== planned?.sizeBytes || floorSeconds(before.mtimeNs) !== planned.mtimeUnix)
    return skip(client, lease, root, `${claim.path} has changed since it was planned.`);
  if (claim.settleOnly) return skip(client, lease, root, `${claim.path} was not stubbed, and no longer satisfies its rule.`);
  return tier(client, lease, root, file, before);
}

async function tier(client: MoverClient, lease: Lease, root: string, file: string, before: Stats): Promise<Done> {
  const { claim } = lease;
  // What a killed claim left may be as large as the file.
  await clearWorkFiles(root, claim.tierId);
  const copy = await newCopy(claim);
  const fresh = await workFile(root, claim, "stub");
  let mayBePlaced = false;
  try {
    const sha256 = await copyVerified(file, copy.file, lease.signal);
    await settleCopy(claim);
    const stub = stubOf(claim.tierId, copy.uri, before, sha256);
    await writeNew(fresh, formatStub(stub));
    const dressed = await dress(fresh, before);
    await lease.announce(stampOf(dressed), copy.uri);
    // From here on an error leaves the copy where it is: the stub may be in the file's place.
    mayBePlaced = true;
    if (await takePlace(fresh, file, await workFile(root, claim, "original"), before))
      return await reportStubbed(client, lease, root, stub, dressed);
    mayBePlaced = false;
    return await skip(client, lease, root, `${claim.path} was written to while it was copied.`);
  } catch (error) {
    throw mayBePlaced || error instanceof LeaseLost ? error : new FileUntouched((error as Error).message, { cause: error });
  } finally {
    if (!mayBePlaced) {
      await fs.rm(fresh, { force: true });
      await removeCopy(claim.tierId, copy.uri);
    }
  }
}

async function reportStubbed(client: MoverClient, lease: Lease, root: string, stub: Stub, stats: Stats): Promise<Done> {
  const { claim } = lease;
  const seen = { sizeBytes: stub.sizeBytes, mtimeUnix: floorSeconds(stub.mtimeNs) };
  const result = await client.report(claim, { case: "stubbed", value: { seen, stub: stampOf(stats), objectUri: stub.objectUri } });
  if (!isAccepted(result)) throw new LeaseLost(result.message);
  // Only now does nobody need them.
  await clearWorkFiles(root, claim.tierId);
  await removeOtherCopies(claim, stub.objectUri);
  return "stubbed";
}

async function skip(client: MoverClient, lease: Lease, root: string, reason: string): Promise<Done> {
  const result = await client.report(lease.claim, { case: "skipped", value: { reason } });
  if (!isAccepted(result)) throw new LeaseLost(result.message);
  await clearWorkFiles(root, lease.claim.tierId);
  return "skipped";
}

/** A stub whose copy is not good: the file itself, if it was kept, goes back to its place. Throws when it was not. */
async function putBack(root: string, file: string, tierId: bigint): Promise<Stats> {
  const original = await findOriginal(root, tierId);
  if (original === undefined) throw new Error(`${file} is a stub, and the copy that it names is missing or damaged`);
  await fs.rename(original, file);
  await syncDirectory(path.dirname(file));
  return fs.lstat(file, { bigint: true });
}
