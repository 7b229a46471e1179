/** A bounded number of places, lent fairly: whoever floods waits behind itself, not before others. */

export interface FairQueueOptions {
  /** Lent at the same time. */
  places: number;
  /** ... to one group, even while nobody else waits. Default: all of them. */
  groupAtMost?: number;
}

interface Group {
  held: number;
  /** In the order of asking. */
  waiting: Set<() => void>;
  /** When it was last given a place: the number of that loan. */
  served: number;
}

/**
 * Lends places to groups (tenants). Alone a group may have all that it is allowed; as soon as others wait, each place that
 * comes free goes to the one that holds the fewest, and among equals to the one that was served longest ago. Within a group
 * the order is that of asking.
 */
export class FairQueue {
  readonly #groupAtMost: number;
  #free: number;
  #loans = 0;
  #waiting = 0;
  /** Those that hold or wait; others are forgotten. */
  readonly #groups = new Map<string, Group>();

  constructor({ places, groupAtMost = places }: FairQueueOptions) {
    this.#free = places;
    this.#groupAtMost = groupAtMost;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** What gives a place back, to be called once; undefined when the group has to wait for one. */
  tryTake(name: string): (() => void) | undefined {
    const group = this.#groups.get(name) ?? { held: 0, waiting: new Set(), served: 0 };
    if (this.#free === 0 || group.held >= this.#groupAtMost) return undefined;
    this.#groups.set(name, group);
    this.#lend(group);
    return () => this.#giveBack(name, group);
  }

  /** Resolves with what gives the place back, to be called once. An abort ends the waiting: rejects with the signal's reason. */
  async take(name: string, signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted();
    const taken = this.tryTake(name);
    if (taken) return taken;
    const group = this.#groups.get(name) ?? { held: 0, waiting: new Set(), served: 0 };
    this.#groups.set(name, group);
    await this.#wait(group, signal).finally(() => this.#forget(name, group));
    return () => this.#giveBack(name, group);
  }

  #giveBack(name: string, group: Group): void {
    group.held -= 1;
    this.#free += 1;
    this.#forget(name, group);
    this.#serve();
  }

  #lend(group: Group): void {
    this.#free -= 1;
    group.held += 1;
    group.served = ++this.#loans;
  }

  /** Resolves once the place is lent. */
  #wait(group: Group, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        signal?.removeEventListener("abort", abort);
        group.waiting.delete(lent);
        this.#waiting -= 1;
      };
      const lent = () => {
        leave();
        resolve();
      };
      const abort = () => {
        leave();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
      group.waiting.add(lent);
      this.#waiting += 1;
    });
  }

  #serve(): void {
    if (this.#free === 0 || this.#waiting === 0) return;
    let next: Group | undefined;
    for (const group of this.#groups.values()) {
      if (group.waiting.size === 0 || group.held >= this.#groupAtMost) continue;
      if (next === undefined || group.held < next.held || (group.held === next.held && group.served < next.served)) next = group;
    }
    if (next === undefined) return;
    const [lent] = next.waiting;
    this.#lend(next);
    lent?.();
  }

  #forget(name: string, group: Group): void {
    if (group.held === 0 && group.waiting.size === 0) this.#groups.delete(name);
  }
}
