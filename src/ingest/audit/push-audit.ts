/** One PushAudit stream: batches in, applied in their order; what arrives meanwhile goes into the next transaction together. */
import { sqlState, toDomainError } from "../../db/errors.js";
import { beginFor } from "../../db/tenant.js";
import { DomainError } from "../../errors.js";
import type { IngestConnections } from "../connections.js";
import { draining } from "../draining.js";
import { Failure } from "../failure.js";
import { auditRetries } from "../limits.js";
import type { IngestObserver } from "../observer.js";
import { type AuditTarget, applyBatches, type Batch } from "./apply-batches.js";
import { type Counts, newCounts } from "./counts.js";
import { openTarget, type TargetContext } from "./open-target.js";
import type { ShareTurns } from "./share-turns.js";
import { type Committed, Transactions } from "./transactions.js";

export interface AuditContext extends TargetContext {
  connections: IngestConnections;
  turns: ShareTurns;
  observer: IngestObserver;
  drainSignal: AbortSignal;
}

export type AuditMessage = { open: { shareName: string; volumeId: string } } | { batch: Batch };

/** Runs a stream to its end and resolves once all of it is committed. Errors: see the proto. */
export async function pushAudit(context: AuditContext, tenantId: string, messages: AsyncIterable<AuditMessage>): Promise<Counts> {
  const iterator = messages[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done || !("open" in first.value)) {
    throw new DomainError("INVALID_ARGUMENT", "The first message of a PushAudit stream is `open`; this stream began without.", {
      reason: "OPEN_MISSING",
    });
  }
  const target = await openTarget(context, tenantId, first.value.open);
  const failure = new Failure();
  const drain = () => failure.fail(draining());
  context.drainSignal.addEventListener("abort", drain);
  const transactions = new Transactions((batches) => commit(context, target, batches, failure), failure);
  try {
    if (context.drainSignal.aborted) throw draining();
    for (;;) {
      const next = await failure.unlessFailed(iterator.next());
      if (next.done) break;
      if (!("batch" in next.value)) {
        throw new DomainError("INVALID_ARGUMENT", "After `open`, every message of a PushAudit stream is a `batch`.", {
          reason: "BATCH_MISSING",
        });
      }
      await transactions.add(next.value.batch);
    }
    await transactions.finish();
    return transactions.counts;
  } finally {
    context.drainSignal.removeEventListener("abort", drain);
    await transactions.stop();
  }
}

/** A deadlock, or a scan that made the same directory at the same moment, loses nothing: the transaction runs again. */
async function commit(context: AuditContext, target: AuditTarget, batches: Batch[], failure: Failure): Promise<Committed> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await context.turns.inTurn(target.share.shareId, () => {
        // The stream may have ended while it waited.
        failure.throwIfFailed();
        return transact(context, target, batches);
      });
    } catch (error) {
      if (attempt < auditRetries && ["40P01", "40001", "55P03"].includes(sqlState(error) ?? "")) continue;
      throw toDomainError(error);
    }
  }
}

async function transact({ connections, observer }: AuditContext, target: AuditTarget, batches: Batch[]): Promise<Committed> {
  const client = await connections.acquire(target.share.tenantId);
  const counts = newCounts();
  let broken = true;
  try {
    const started = performance.now();
    await client.query(beginFor(target.share.tenantId));
    await applyBatches(client, target, batches, counts);
    await client.query("COMMIT");
    broken = false;
    const durationMs = performance.now() - started;
    observer.auditDone(counts, durationMs / 1000);
    return { counts, durationMs };
  } finally {
    connections.release(client, broken);
  }
}
