/** Claims, works and reports until nothing is left to do. */
import { TierAction, type TierClaim } from "../../src/gen/frostline/v1/tier_pb.js";
import { connect, isAccepted, type MoverClient } from "./client.js";
import { Lease, LeaseLost } from "./lease.js";
import { rehydrateFile } from "./rehydrate-file.js";
import { FileUntouched, stubFile } from "./stub-file.js";
import { removeCopy } from "./target.js";

export interface MoverOptions {
  /** host:port of the server. */
  server: string;
  /** API key, scope agent or operator. */
  key: string;
  shareName: string;
  /** Where the share is mounted. */
  root: string;
  /** Tells people who has claimed what. */
  holder: string;
  leaseSeconds: number;
  /** Objects worked on at once. */
  workers: number;
  /** What went wrong, for people. */
  log: (message: string) => void;
  /** Ends it; objects under way are finished first. */
  signal?: AbortSignal;
}

/** Objects by what became of them. */
export interface Moved {
  stubbed: number;
  rehydrated: number;
  targetsDeleted: number;
  skipped: number;
  failed: number;
  /** Leases lost to somebody else. */
  lost: number;
}

type Fate = keyof Moved;

/** People wait for what is to come back; so that comes first. */
const order = [TierAction.REHYDRATE, TierAction.STUB, TierAction.DELETE_TARGET];

/** Works until no object of the share can be claimed. Throws when the server refuses, or is away for long. */
export async function runMover(options: MoverOptions): Promise<Moved> {
  const moved: Moved = { stubbed: 0, rehydrated: 0, targetsDeleted: 0, skipped: 0, failed: 0, lost: 0 };
  const client = connect(options);
  try {
    for (const action of order) {
      const work = Array.from({ length: options.workers }, async () => {
        while (!options.signal?.aborted) {
          const claim = await client.claimOne(action);
          if (claim === undefined) return;
          moved[await handle(client, claim, options)] += 1;
        }
      });
      await Promise.all(work);
    }
    return moved;
  } finally {
    client.close();
  }
}

async function handle(client: MoverClient, claim: TierClaim, { root, leaseSeconds, log }: MoverOptions): Promise<Fate> {
  const lease = new Lease(client, claim, leaseSeconds);
  try {
    if (claim.action === TierAction.STUB) return await stubFile(client, lease, root);
    if (claim.action === TierAction.REHYDRATE) return await rehydrateFile(client, lease, root);
    return await deleteTarget(client, lease);
  } catch (error) {
    log(`${claim.path}: ${(error as Error).message}`);
    if (error instanceof LeaseLost) return "lost";
    const reason = (error as Error).message.slice(0, 1000);
    const failed = await client.report(claim, { case: "failed", value: { reason, fileUntouched: error instanceof FileUntouched } });
    return isAccepted(failed) ? "failed" : "lost";
  } finally {
    lease.end();
  }
}

async function deleteTarget(client: MoverClient, lease: Lease): Promise<Fate> {
  await lease.assertOurs();
  await removeCopy(lease.claim.tierId, lease.claim.objectUri);
  const result = await client.report(lease.claim, { case: "targetDeleted", value: {} });
  if (!isAccepted(result)) throw new LeaseLost(result.message);
  return "targetsDeleted";
}
