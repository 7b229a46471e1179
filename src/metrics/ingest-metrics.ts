/** What a server measures of the scans and audit trails that it takes in. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { Counts } from "../ingest/audit/counts.js";
import {
  type FileChanges,
  type HeldByStream,
  type IngestObserver,
  problemKinds,
  type SegmentDone,
  segmentPhases,
} from "../ingest/observer.js";

/** Per segment or transaction, never per file: a scan of a million files comes here some twenty times. */
export class IngestMetrics implements IngestObserver {
  readonly #streams = new Set<HeldByStream>();
  readonly #files: Counter<"change">;
  readonly #refused: Counter<"reason">;
  readonly #segmentFiles: Histogram;
  readonly #segmentSeconds: Histogram<"phase">;
  readonly #events: Counter<"outcome">;
  readonly #auditSeconds: Histogram;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#files = new Counter({
      name: "frostline_scan_files_total",
      help: "Files that scans listed or missed, by what that changed, once it is committed.",
      labelNames: ["change"] as const,
      registers,
    });
    this.#refused = new Counter({
      name: "frostline_refused_records_total",
      help: "Records, listings and directories of scans that could not be taken, by reason.",
      labelNames: ["reason"] as const,
      registers,
    });
    for (const reason of problemKinds) this.#refused.inc({ reason }, 0);
    this.#segmentFiles = new Histogram({
      name: "frostline_segment_files",
      help: "Files of a segment: of a transaction of a scan.",
      buckets: [10, 100, 1_000, 10_000, 50_000, 100_000, 1_000_000],
      registers,
    });
    this.#segmentSeconds = new Histogram({
      name: "frostline_segment_seconds",
      help: "Where the time of committed segments went, by phase.",
      labelNames: ["phase"] as const,
      buckets: [0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60],
      registers,
    });
    this.#events = new Counter({
      name: "frostline_audit_events_total",
      help: "Audit events by what became of them, once it is committed.",
      labelNames: ["outcome"] as const,
      registers,
    });
    this.#auditSeconds = new Histogram({
      name: "frostline_audit_transaction_seconds",
      help: "Duration of committed transactions of audit events.",
      buckets: [0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60],
      registers,
    });
    this.#held(registry);
  }

  streamOpened(stream: HeldByStream): void {
    this.#streams.add(stream);
  }

  streamClosed(stream: HeldByStream): void {
    this.#streams.delete(stream);
  }

  segmentDone(segment: SegmentDone): void {
    const { added, changed, unchanged, missing, seconds } = segment;
    this.filesFinished({ added, changed, unchanged, missing });
    this.#segmentFiles.observe(segment.files);
    for (const phase of segmentPhases) this.#segmentSeconds.observe({ phase }, seconds[phase]);
    for (const { kind } of segment.problems) this.#refused.inc({ reason: kind });
  }

  filesFinished(changes: Partial<FileChanges>): void {
    for (const [change, files] of Object.entries(changes)) this.#files.inc({ change }, files);
  }

  auditDone(counts: Counts, seconds: number): void {
    for (const [outcome, events] of Object.entries(counts)) this.#events.inc({ outcome }, events);
    this.#auditSeconds.observe(seconds);
  }

  /** Asked when it is scraped. */
  #held(registry: Registry): void {
    const streams = this.#streams;
    const sum = (of: (stream: HeldByStream) => number) => [...streams].reduce((total, stream) => total + of(stream), 0);
    new Gauge({
      name: "frostline_buffered_bytes",
      help: "Bytes of rows that open scan streams hold until the database has taken them.",
      registers: [registry],
      collect() {
        this.set(sum(({ heldBytes }) => heldBytes));
      },
    });
    new Gauge({
      name: "frostline_segments_in_flight",
      help: "Segments of open scan streams that are on their way into the database.",
      registers: [registry],
      collect() {
        this.set(sum(({ segmentsInFlight }) => segmentsInFlight));
      },
    });
  }
}
