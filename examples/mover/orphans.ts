/**
 * Stubs that the server knows nothing of: its database was set back to a time before they were made. A scan would take
 * them for the files, so their content is brought back before the next one.
 */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { type TierObject, TierState } from "../../src/gen/frostline/v1/tier_pb.js";
import { copyVerified, dress, isUntouched, type Stats, statFile, syncDirectory } from "./files.js";
import { workDirectoryName } from "./place.js";
import { readStub, type Stub } from "./stub.js";
import { copyPath } from "./target.js";
import { connectTierService } from "./tier-service.js";

export interface OrphanOptions {
  /** host:port of the server. */
  server: string;
  /** API key, scope reader. */
  key: string;
  shareName: string;
  /** Where the share is mounted. */
  root: string;
  signal: AbortSignal;
}

export interface Orphan {
  file: string;
  stats: Stats;
  stub: Stub;
}

/** Stubs below the root of which no object says that they are there, or may be. Files larger than a stub are not opened. */
export async function findOrphans(options: OrphanOptions): Promise<Orphan[]> {
  const known = await knownObjects(options);
  const orphans: Orphan[] = [];
  for await (const { file, stats } of filesBelow(options.root, options.signal)) {
    const stub = await readStub(file, stats);
    if (stub !== undefined && !isExpected(known.get(stub.tierId), stub)) orphans.push({ file, stats, stub });
  }
  return orphans;
}

/** Puts the content in the stub's place, with its times; the copy at the target stays. Throws when the copy is missing or damaged. */
export async function bringBack({ file, stats, stub }: Orphan, root: string, signal: AbortSignal): Promise<void> {
  const dir = path.join(root, workDirectoryName);
  await fs.mkdir(dir, { recursive: true });
  const fresh = path.join(dir, `orphan.${stats.ino}.content`);
  await fs.rm(fresh, { force: true });
  try {
    const copy = copyPath(stub.objectUri);
    const sha256 = await copyVerified(copy, fresh, signal);
    if (sha256 !== stub.sha256) throw new Error(`${copy} is damaged: its SHA-256 is ${sha256}, the stub says ${stub.sha256}`);
    await dress(fresh, { ...stats, mtimeNs: stub.mtimeNs, atimeNs: stub.atimeNs });
    if (!isUntouched(stats, await statFile(file))) throw new Error(`${file} was changed meanwhile`);
    await fs.rename(fresh, file);
    await syncDirectory(path.dirname(file));
  } finally {
    await fs.rm(fresh, { force: true });
  }
}

/** A number may have been given to another file since: then the copy is another, too. */
function isExpected(object: TierObject | undefined, stub: Stub): boolean {
  if (object === undefined || object.planned?.sizeBytes !== stub.sizeBytes) return false;
  return object.state === TierState.PLANNED || object.objectUri === stub.objectUri;
}

async function knownObjects({ server, key, shareName, signal }: OrphanOptions): Promise<Map<bigint, TierObject>> {
  const { client, close } = connectTierService(server, key);
  const known = new Map<bigint, TierObject>();
  try {
    let pageToken = "";
    do {
      const page = await client.listTierObjects({ shareName, pageSize: 1000, pageToken }, { signal });
      for (const object of page.objects) known.set(object.tierId, object);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return known;
  } finally {
    close();
  }
}

/** Regular files, but those in the movers' own directory. */
async function* filesBelow(dir: string, signal: AbortSignal): AsyncGenerator<{ file: string; stats: Stats }> {
  signal.throwIfAborted();
  for (const entry of await fs.readdir(dir, { withFileTypes: true })) {
    const file = path.join(dir, entry.name);
    if (entry.isDirectory() && entry.name !== workDirectoryName) yield* filesBelow(file, signal);
    else if (entry.isFile()) {
      const stats = await statFile(file);
      if (stats !== undefined) yield { file, stats };
    }
  }
}
