/**
 * Turns at what all streams of a process share: the main thread, and the look-ups of directories. 200 streams that each have
 * a message ready would be worked off one behind the other before anybody's short call is looked at: a GetShare of another
 * tenant took 13 s.
 */
import { setTimeout as delay, setImmediate as nextRound } from "node:timers/promises";
import { FairQueue } from "./fair-queue.js";

/** Each is a short transaction on a connection of the query pool, which is for other calls as well. */
const lookUpsAtOnce = 4;

/**
 * So long the work of one tenant's streams steps back while short calls of others are under way: each needs several rounds of the
 * event loop, and of the database.
 */
const stepBackMs = 50;
const lookAgainMs = 2;

/** What is known of calls that should be answered soon. */
export interface ShortCalls {
  othersAreWaiting(tenantId: string): boolean;
}

/** One of a process. Both reject with the signal's reason when it aborts before the work has begun. */
export class Turns {
  readonly #thread = new FairQueue({ places: 1 });
  readonly #lookUps = new FairQueue({ places: lookUpsAtOnce });
  readonly #shortCalls: ShortCalls;

  constructor(shortCalls: ShortCalls) {
    this.#shortCalls = shortCalls;
  }

  /** Runs what computes for some milliseconds. Before each, the event loop comes round: what has arrived is read, and answered if it is short. */
  async compute<T>(tenantId: string, signal: AbortSignal, work: () => T): Promise<T> {
    return this.#run(this.#thread, tenantId, signal, async () => {
      await nextRound();
      await this.#stepBack(tenantId);
      return work();
    });
  }

  /** Runs what waits for a short transaction. */
  async lookUp<T>(tenantId: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return this.#run(this.#lookUps, tenantId, signal, async () => {
      await this.#stepBack(tenantId);
      return work();
    });
  }

  async #stepBack(tenantId: string): Promise<void> {
    const untilMs = performance.now() + stepBackMs;
    while (this.#shortCalls.othersAreWaiting(tenantId) && performance.now() < untilMs) await delay(lookAgainMs);
  }

  async #run<T>(queue: FairQueue, tenantId: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const giveBack = await queue.take(tenantId, signal);
    try {
      return await work();
    } finally {
      giveBack();
    }
  }
}
