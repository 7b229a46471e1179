/** What a background job is, and what one has done. */
import type { ClientBase } from "pg";
import type { Reconciled } from "../tier/reconcile.js";

export interface JobWorker {
  /** Outside of a transaction. After an error the runner rolls back, and closes what is open. */
  client: ClientBase;
  /** So long a processed audit event is remembered. */
  auditKeepDays: number;
  /** Between two transactions it is looked at. */
  signal: AbortSignal;
}

export interface Job {
  name: string;
  /** Does all that is due; after an abort, less. Throws. */
  run(worker: JobWorker): Promise<Partial<Done>>;
}

/** What jobs do, each some of it. */
export interface Done {
  partitionsMade: string[];
  /** Months of the audit log that retention had emptied. */
  partitionsDropped: string[];
  /** Erasures that came to their end. */
  erasuresFinished: number;
  eventsPruned: number;
  /** Accesses that waited for a file in vain. */
  waitingPruned: number;
  /** Tier objects that were brought on. */
  tier: Reconciled;
  /** Rows past their bounds. */
  rowsRemoved: number;
}

/** One number for all of it. */
export function rowsOf(done: Partial<Done>): number {
  return Object.values(done).reduce<number>((sum, value) => sum + amount(value), 0);
}

function amount(value: Done[keyof Done]): number {
  if (typeof value === "number") return value;
  return Array.isArray(value) ? value.length : Object.values(value).reduce((sum, rows) => sum + rows, 0);
}
