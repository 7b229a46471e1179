/**
 * Turns at what all streams of a process share: the main thread, and the look-ups of directories. 200 streams that each have
 * a message ready would be worked off one behind the other before anybody's short call is looked at: a GetShare of another
 * tenant took 13 s.
 */
import { setTimeout as delay, setImmediate as nextRound } from "node:timers/promises";
import { FairQueue } from "./fair-queue.js";

/** Each is a short transaction on a connection of the query pool, which is for other calls as well. */
const lookUpsAtOnce = 4;

/** So long a tenant steps back, at the most, before each piece of its work. */
const stepBackMs = 100;
/** Before that, and while the thread has time, so long after the last one: several that begin together are a wait for everybody else. */
const apartMs = 25;
const lookAgainMs = 5;

/** A thread that is busy for more of its time keeps what comes next waiting longer than it then takes. */
const highLoad = 0.6;
/** What was longer ago hardly counts; of less, one piece of work would look like a load. */
const loadMs = 200;

/** What is known of calls that should be answered soon. */
export interface ShortCalls {
  othersAreWaiting(tenantId: string): boolean;
}

/** What is known of the thread. */
export interface Load {
  isHigh(): boolean;
}

/** One of a process. All reject with the signal's reason when it aborts before the work has begun. */
export class Turns {
  /** Those of a tenant one after the other, whatever others do. */
  readonly #beginning = new FairQueue({ places: Number.POSITIVE_INFINITY, groupAtMost: 1 });
  /** Of their own: they hold a connection that others wait for, and would stand behind all that is only read. */
  readonly #merging = new FairQueue({ places: Number.POSITIVE_INFINITY, groupAtMost: 1 });
  readonly #thread = new FairQueue({ places: 1 });
  readonly #lookUps = new FairQueue({ places: lookUpsAtOnce });
  readonly #load: Load;
  /** When the last piece of work began. */
  #begunMs = 0;
  readonly #shortCalls: ShortCalls;

  constructor(shortCalls: ShortCalls, load: Load = new ThreadLoad()) {
    this.#shortCalls = shortCalls;
    this.#load = load;
  }

  /**
   * Resolves when a piece of work may begin that will take many rounds of the event loop, and of the database: a chunk, a batch, a long page.
   * While short calls of others wait and the thread is busy, it steps back before each; `othersWait` when they still do.
   */
  async begin(tenantId: string, signal: AbortSignal): Promise<{ othersWait: boolean }> {
    return this.#run(this.#beginning, tenantId, signal, () => this.#stepBack(tenantId, signal));
  }

  /** The same for a merge, which has its connection already: what a flood had on its way before others came must not be merged all at once. */
  async beginMerge(tenantId: string): Promise<void> {
    await this.#run(this.#merging, tenantId, undefined, () => this.#stepBack(tenantId));
  }

  async #stepBack(tenantId: string, signal?: AbortSignal): Promise<{ othersWait: boolean }> {
    const startMs = performance.now();
    for (;;) {
      signal?.throwIfAborted();
      const nowMs = performance.now();
      const othersWait = this.#shortCalls.othersAreWaiting(tenantId);
      const isTime = nowMs >= startMs + stepBackMs || (nowMs >= this.#begunMs + apartMs && !this.#load.isHigh());
      if (!othersWait || isTime) {
        this.#begunMs = nowMs;
        return { othersWait };
      }
      await delay(lookAgainMs);
    }
  }

  /** Runs what computes for some milliseconds. Before each, the event loop comes round: what has arrived is read, and answered if it is short. */
  async compute<T>(tenantId: string, signal: AbortSignal, work: () => T): Promise<T> {
    return this.#run(this.#thread, tenantId, signal, async () => {
      await nextRound();
      return work();
    });
  }

  /** Runs what waits for a short transaction. */
  async lookUp<T>(tenantId: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return this.#run(this.#lookUps, tenantId, signal, work);
  }

  async #run<T>(queue: FairQueue, tenantId: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const giveBack = await queue.take(tenantId, signal);
    try {
      return await work();
    } finally {
      giveBack();
    }
  }
}

/** How busy the event loop was of late. */
class ThreadLoad implements Load {
  #since = performance.eventLoopUtilization();
  #lookedMs = performance.now();
  /** Of utilization, the latest counting most. */
  #mean = 0;

  isHigh(): boolean {
    const nowMs = performance.now();
    const forMs = nowMs - this.#lookedMs;
    if (forMs >= lookAgainMs) {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, this.#since);
      // Nobody has looked for a while: what was meanwhile is no load of now.
      this.#mean = forMs > loadMs ? 0 : this.#mean + (utilization - this.#mean) * (1 - Math.exp(-forMs / loadMs));
      this.#since = now;
      this.#lookedMs = nowMs;
    }
    return this.#mean >= highLoad;
  }
}
