/** One transaction of audit batches: claimed, then applied while the share is held, then committed. */
import type { PoolClient } from "pg";
import { sqlState, toDomainError } from "../../db/errors.js";
import { beginFor } from "../../db/tenant.js";
import { together } from "../../db/together.js";
import { recordTouches } from "../../warming/record-touches.js";
import type { IngestConnections } from "../connections.js";
import type { Failure } from "../failure.js";
import { auditRetries } from "../limits.js";
import { lockShare } from "../locks.js";
import type { IngestObserver } from "../observer.js";
import { type AuditTarget, claimBatches } from "./claim.js";
import { newCounts } from "./counts.js";
import { advanceCursors } from "./cursors.js";
import type { Batch, BatchInBytes } from "./events.js";
import { prepareRun } from "./run.js";
import type { ShareTurns } from "./share-turns.js";
import type { Committed } from "./transactions.js";

export interface TransactionContext {
  connections: IngestConnections;
  turns: ShareTurns;
  observer: IngestObserver;
}

/** A deadlock, or a scan that made the same directory at the same moment, loses nothing: the transaction runs again. */
export async function commitBatches(
  context: TransactionContext,
  target: AuditTarget,
  batches: BatchInBytes[],
  failure: Failure,
): Promise<Committed> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await transact(context, target, batches, failure);
    } catch (error) {
      if (attempt < auditRetries && ["40P01", "40001", "55P03"].includes(sqlState(error) ?? "")) continue;
      throw toDomainError(error);
    }
  }
}

/**
 * The streams of a share claim one at a time, while another one applies: the database works for both, and no more than two
 * hold a connection.
 */
async function transact(context: TransactionContext, target: AuditTarget, batches: BatchInBytes[], failure: Failure): Promise<Committed> {
  const { connections, turns, observer } = context;
  const endTurn = await turns.take(target.share.shareId);
  try {
    // The stream may have ended while it waited.
    failure.throwIfFailed();
    const decoded: Batch[] = [];
    for (const batch of batches) decoded.push(await batch.read());
    const client = await connections.acquireForAudit(target.share.tenantId);
    let committed: Committed | undefined;
    try {
      committed = await runTransaction(client, target, decoded, endTurn);
      observer.auditDone(committed.counts, committed.durationMs / 1000);
      return committed;
    } finally {
      connections.release(client, committed === undefined);
    }
  } finally {
    endTurn();
  }
}

/**
 * Statements that need nothing of each other's outcome are sent together: a busy event loop takes longer to come round than most of
 * them to run. `claimed` is called when the next transaction of the share may begin.
 */
async function runTransaction(client: PoolClient, target: AuditTarget, batches: Batch[], claimed: () => void): Promise<Committed> {
  const { share, volumeId } = target;
  const counts = newCounts();
  const began = performance.now();
  const [, { cursors, events }] = await together([client.query(beginFor(share.tenantId)), claimBatches(client, target, batches, counts)]);
  const run = await prepareRun(client, target, events, counts);
  const waitsSince = performance.now();
  // In the database, with those of other servers and the segments of scans.
  const locking = lockShare(client, share.shareId, "exclusive");
  const starting = run.start();
  // Its error is met below, even if the lock is not had.
  starting.catch(() => {});
  await locking;
  const waitedMs = performance.now() - waitsSince;
  claimed();
  await starting;
  const touches = await run.apply();
  const advancing = advanceCursors(client, share.tenantId, volumeId, [...cursors.values()]);
  await (touches.length === 0 ? undefined : advancing.then(() => recordTouches(client, share, touches)));
  await together([advancing, client.query("COMMIT")]);
  return { counts, durationMs: performance.now() - began - waitedMs };
}
