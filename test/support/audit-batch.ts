import type { Batch, BatchInBytes } from "../../src/ingest/audit/events.js";

/** A batch for pushAudit that needs no decoding. */
export function receivedBatch(batch: Batch): BatchInBytes {
  return {
    events: batch.events.length,
    bytes: 100 * batch.events.length,
    read: async () => ({ ...batch, events: batch.events.map((event) => ({ ...event })) }),
  };
}
