/** Looks keys up in the database, once for many calls that come at the same time. */
import type { Pool } from "pg";
import { authenticationConnections } from "../db/pool.js";
import { FairQueue } from "../fairness/fair-queue.js";
import { authenticate, type Caller } from "./keys.js";

/** Of one key at the same time: with a single one each call would wait for the end of another's before its own began. */
const lookUpsOfKey = 2;

interface Lookups {
  running: Set<Promise<Caller | undefined>>;
  /** Begins once one of those has ended. */
  next: Promise<Caller | undefined> | undefined;
}

/**
 * A tenant's flood asks about one key a thousand times a second. Of a key two look-ups run at most; calls that come meanwhile share
 * the next. So each call's answer was read after the call had come: a key that was revoked before is refused. Keys take turns, and
 * those that were never good are one among them: whoever guesses waits behind itself.
 */
export class KeyLookups {
  readonly #pool: Pool;
  readonly #turns = new FairQueue({ places: authenticationConnections, groupAtMost: authenticationConnections - 1 });
  /** By the secret. */
  readonly #lookups = new Map<string, Lookups>();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * Whom a secret stands for; undefined when it is unknown, revoked or expired. `wasGood`: it stood for somebody before. Throws as
   * authenticate does.
   */
  find(secret: string, wasGood: boolean): Promise<Caller | undefined> {
    const lookups = this.#lookups.get(secret) ?? { running: new Set(), next: undefined };
    this.#lookups.set(secret, lookups);
    if (lookups.next !== undefined) return lookups.next;
    if (lookups.running.size < lookUpsOfKey) return this.#start(lookups, secret, wasGood);
    const start = () => {
      lookups.next = undefined;
      return this.#start(lookups, secret, wasGood);
    };
    lookups.next = Promise.race([...lookups.running].map((running) => running.catch(() => {}))).then(start);
    return lookups.next;
  }

  #start(lookups: Lookups, secret: string, wasGood: boolean): Promise<Caller | undefined> {
    const running = this.#look(secret, wasGood ? secret : "");
    lookups.running.add(running);
    const over = () => {
      lookups.running.delete(running);
      if (lookups.running.size === 0 && lookups.next === undefined) this.#lookups.delete(secret);
    };
    running.then(over, over);
    return running;
  }

  async #look(secret: string, group: string): Promise<Caller | undefined> {
    const giveBack = await this.#turns.take(group);
    try {
      return await authenticate(this.#pool, secret);
    } finally {
      giveBack();
    }
  }
}
