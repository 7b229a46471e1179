/** REHYDRATE: the content takes the stub's place. The copy at the target stays. */
import * as fs from "node:fs/promises";
import type { TierClaim } from "../../src/gen/frostline/v1/tier_pb.js";
import { isAccepted, type MoverClient } from "./client.js";
import { copyVerified, dress, floorSeconds, hashFile, locate, type Stats, stampOf, statFile } from "./files.js";
import { type Lease, LeaseLost } from "./lease.js";
import { clearWorkFiles, takePlace, workFile } from "./place.js";
import { readStub, type Stub } from "./stub.js";
import { copyPath } from "./target.js";

export type Done = "rehydrated" | "skipped";

/** Throws LeaseLost, and whatever goes wrong with the file system. */
export async function rehydrateFile(client: MoverClient, lease: Lease, root: string): Promise<Done> {
  const { claim } = lease;
  const file = await locate(root, claim.pathNames);
  const before = await statFile(file);
  // It may have been renamed: the next scan tells where it is.
  if (!before) throw new Error(`nothing is at ${claim.path}`);
  const stub = before.isFile() ? await readStub(file, before) : undefined;
  if (stub === undefined || stub.tierId !== claim.tierId) {
    if (await isContent(claim, file, before, lease.signal)) return reportRehydrated(client, lease, root, before);
    return skip(client, lease, root, `${claim.path} is not the stub that was left there.`);
  }
  await clearWorkFiles(root, claim.tierId);
  const fresh = await workFile(root, claim, "content");
  try {
    const dressed = await restore(await findCopy(claim, stub), stub, before, fresh, lease.signal);
    await lease.assertOurs();
    if (!(await takePlace(fresh, file, await workFile(root, claim, "replaced"), before)))
      return await skip(client, lease, root, `${claim.path} was written to while its content was copied.`);
    return await reportRehydrated(client, lease, root, dressed);
  } finally {
    await fs.rm(fresh, { force: true });
  }
}

/** The server knows of the copy that was reported; the stub may be another claim's, of the same content. */
async function findCopy({ objectUri }: TierClaim, stub: Stub): Promise<string> {
  const reported = copyPath(objectUri);
  return (await statFile(reported)) !== undefined ? reported : copyPath(stub.objectUri);
}

/** The content as it was, in `fresh`. Throws when the copy is damaged. */
async function restore(copy: string, stub: Stub, { mode, uid, gid }: Stats, fresh: string, signal: AbortSignal): Promise<Stats> {
  const sha256 = await copyVerified(copy, fresh, signal);
  if (sha256 !== stub.sha256) throw new Error(`${copy} is damaged: its SHA-256 is ${sha256}, the stub says ${stub.sha256}`);
  return dress(fresh, { mode, uid, gid, mtimeNs: stub.mtimeNs, atimeNs: stub.atimeNs });
}

/** A claim before this one has put the content back, and was killed before it could say so. */
async function isContent({ planned, objectUri }: TierClaim, file: string, stats: Stats, signal: AbortSignal): Promise<boolean> {
  if (!stats.isFile() || stats.size !== planned?.sizeBytes || floorSeconds(stats.mtimeNs) !== planned.mtimeUnix) return false;
  const copy = copyPath(objectUri);
  return (await statFile(copy)) !== undefined && (await hashFile(file, signal)) === (await hashFile(copy, signal));
}

async function reportRehydrated(client: MoverClient, lease: Lease, root: string, stats: Stats): Promise<Done> {
  const result = await client.report(lease.claim, { case: "rehydrated", value: { file: stampOf(stats) } });
  if (!isAccepted(result)) throw new LeaseLost(result.message);
  await clearWorkFiles(root, lease.claim.tierId);
  return "rehydrated";
}

async function skip(client: MoverClient, lease: Lease, root: string, reason: string): Promise<Done> {
  const result = await client.report(lease.claim, { case: "skipped", value: { reason } });
  if (!isAccepted(result)) throw new LeaseLost(result.message);
  await clearWorkFiles(root, lease.claim.tierId);
  return "skipped";
}
