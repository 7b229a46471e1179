/** Looks keys up in the database, once for many calls that come at the same time. */
import type { Pool } from "pg";
import { authenticate, type Caller } from "./keys.js";

interface Lookup {
  running: Promise<Caller | undefined>;
  /** Begins once the running one is over. */
  next: Promise<Caller | undefined> | undefined;
}

/**
 * A tenant's flood asks about one key a thousand times a second. Of a key at most one look-up runs; calls that come meanwhile share
 * the next. So each call's answer was read after the call had come: a key that was revoked before is refused.
 */
export class KeyLookups {
  readonly #pool: Pool;
  /** By the secret. */
  readonly #lookups = new Map<string, Lookup>();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Whom a secret stands for; undefined when it is unknown, revoked or expired. Throws as authenticate does. */
  find(secret: string): Promise<Caller | undefined> {
    const lookup = this.#lookups.get(secret);
    if (lookup === undefined) return this.#start(secret);
    lookup.next ??= lookup.running.then(
      () => this.#start(secret),
      () => this.#start(secret),
    );
    return lookup.next;
  }

  #start(secret: string): Promise<Caller | undefined> {
    const running = authenticate(this.#pool, secret);
    const lookup: Lookup = { running, next: undefined };
    this.#lookups.set(secret, lookup);
    const over = () => {
      if (lookup.next === undefined) this.#lookups.delete(secret);
    };
    running.then(over, over);
    return running;
  }
}
