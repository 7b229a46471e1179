/** Ingest for one call: what it does is measured as always, and stands in the log under the call's request id. */
import type { IngestObserver } from "../ingest/observer.js";
import type { Logger } from "../log.js";
import type { CallContext } from "./context.js";

/** Ids, counts and times; no names. */
export function observed<Context extends { observer: IngestObserver }>(context: Context, log: Logger, call: CallContext): Context {
  const { observer } = context;
  const lines = log.child({ requestId: call.requestId, tenantId: call.tenantId });
  const own: IngestObserver = {
    streamOpened: (stream) => observer.streamOpened(stream),
    streamClosed: (stream) => observer.streamClosed(stream),
    segmentDone(segment) {
      observer.segmentDone(segment);
      const { scanId, problems, ...counts } = segment;
      lines.debug({ scanId: String(scanId), ...counts, refused: problems.length }, "a segment of a scan is committed");
    },
    filesFinished(changes) {
      observer.filesFinished(changes);
      lines.debug(changes, "a batch of a scan's end is committed");
    },
    auditDone(counts, seconds) {
      observer.auditDone(counts, seconds);
      lines.debug({ ...counts, seconds }, "audit events are committed");
    },
  };
  return { ...context, observer: own };
}
