/**
 * The transactions of one audit stream: what arrives while one is under way goes into the next. How many
 * events one takes follows from how long the last one took: those that move directories take much longer than
 * reads, and meanwhile hold up the share's other streams.
 */
import type { Failure } from "../failure.js";
import { auditBytesInTransaction, auditEventsInTransaction, auditTransactionMs } from "../limits.js";
import { type Counter, type Counts, newCounts } from "./counts.js";
import type { BatchInBytes } from "./events.js";

export interface Committed {
  counts: Counts;
  /** From BEGIN to the end of COMMIT. */
  durationMs: number;
}

export class Transactions {
  /** Of what is committed. */
  readonly counts = newCounts();
  readonly #commit: (batches: BatchInBytes[]) => Promise<Committed>;
  readonly #failure: Failure;
  #gathered: BatchInBytes[] = [];
  #eventsAtMost = auditEventsInTransaction;
  #working: Promise<void> | undefined;

  constructor(commit: (batches: BatchInBytes[]) => Promise<Committed>, failure: Failure) {
    this.#commit = commit;
    this.#failure = failure;
  }

  /** Resolves when another batch may come. Rejects once the stream has failed. */
  async add(batch: BatchInBytes): Promise<void> {
    this.#failure.throwIfFailed();
    this.#gathered.push(batch);
    this.#begin();
    while (this.#take(this.#gathered).length < this.#gathered.length) await this.#failure.unlessFailed(this.#working ?? Promise.resolve());
  }

  /** Resolves when all is committed. Rejects once the stream has failed. */
  async finish(): Promise<void> {
    while (this.#working) await this.#failure.unlessFailed(this.#working);
    this.#failure.throwIfFailed();
  }

  /** Begins nothing more; resolves when what is under way has come to its end. */
  async stop(): Promise<void> {
    this.#gathered = [];
    await this.#working;
  }

  #begin(): void {
    if (this.#working || this.#gathered.length === 0) return;
    const batches = this.#take(this.#gathered);
    this.#gathered = this.#gathered.slice(batches.length);
    this.#working = this.#commit(batches).then(
      ({ counts, durationMs }) => {
        for (const name of Object.keys(counts) as Counter[]) this.counts[name] += counts[name];
        this.#eventsAtMost = eventsOfNext(this.#eventsAtMost, eventsIn(batches), durationMs);
        this.#working = undefined;
        this.#begin();
      },
      (error) => {
        this.#working = undefined;
        this.#failure.fail(error);
      },
    );
  }

  /** The first of `batches` that one transaction takes; one at least, since a batch is applied whole. */
  #take(batches: BatchInBytes[]): BatchInBytes[] {
    let [events, bytes] = [0, 0];
    const end = batches.findIndex((batch) => {
      if (events >= this.#eventsAtMost || bytes >= auditBytesInTransaction) return true;
      events += batch.events;
      bytes += batch.bytes;
      return false;
    });
    return end < 0 ? batches : batches.slice(0, end);
  }
}

function eventsIn(batches: BatchInBytes[]): number {
  return batches.reduce((sum, { events }) => sum + events, 0);
}

/** As many as would have fitted; twice as many as before where there was time. */
export function eventsOfNext(atMost: number, events: number, durationMs: number): number {
  if (durationMs <= auditTransactionMs / 2) return Math.min(auditEventsInTransaction, atMost * 2);
  if (durationMs <= auditTransactionMs) return atMost;
  return Math.max(1, Math.floor((events * auditTransactionMs) / durationMs));
}
