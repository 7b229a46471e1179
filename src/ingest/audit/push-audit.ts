/** One PushAudit stream: batches in, applied in their order; what arrives meanwhile goes into the next transaction together. */
import { DomainError } from "../../errors.js";
import { draining } from "../draining.js";
import { Failure } from "../failure.js";
import { commitBatches, type TransactionContext } from "./commit.js";
import type { Counts } from "./counts.js";
import type { BatchInBytes } from "./events.js";
import { openTarget, type TargetContext } from "./open-target.js";
import { Transactions } from "./transactions.js";

export interface AuditContext extends TargetContext, TransactionContext {
  drainSignal: AbortSignal;
}

export type AuditMessage = { open: { shareName: string; volumeId: string } } | { batch: BatchInBytes };

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
  const transactions = new Transactions((batches) => commitBatches(context, target, batches, failure), failure);
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
