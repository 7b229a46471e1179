/** Looks keys up in the database, once for many calls that come at the same time. */
import type { Pool } from "pg";
import { authenticationConnections } from "../db/pool.js";
import { FairQueue } from "../fairness/fair-queue.js";
import { authenticate, type Caller } from "./keys.js";

interface Lookup {
  running: Promise<Caller | undefined>;
  /** Begins once the running one is over. */
  next: Promise<Caller | undefined> | undefined;
}

/**
 * A tenant's flood asks about one key a thousand times a second. Of a key at most one look-up runs; calls that come meanwhile share
 * the next. So each call's answer was read after the call had come: a key that was revoked before is refused. Keys take turns, and
 * those that were never good are one among them: whoever guesses waits behind itself.
 */
export class KeyLookups {
  readonly #pool: Pool;
  readonly #turns = new FairQueue({ places: authenticationConnections, groupAtMost: authenticationConnections - 1 });
  /** By the secret. */
  readonly #lookups = new Map<string, Lookup>();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * Whom a secret stands for; undefined when it is unknown, revoked or expired. `wasGood`: it stood for somebody before. Throws as
   * authenticate does.
   */
  find(secret: string, wasGood: boolean): Promise<Caller | undefined> {
    const lookup = this.#lookups.get(secret);
    if (lookup === undefined) return this.#start(secret, wasGood);
    const next = () => this.#start(secret, wasGood);
    lookup.next ??= lookup.running.then(next, next);
    return lookup.next;
  }

  #start(secret: string, wasGood: boolean): Promise<Caller | undefined> {
    const running = this.#look(secret, wasGood ? secret : "");
    const lookup: Lookup = { running, next: undefined };
    this.#lookups.set(secret, lookup);
    const over = () => {
      if (lookup.next === undefined) this.#lookups.delete(secret);
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
