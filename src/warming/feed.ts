/** Tells watchers that there is something new to read. It carries no events: those are read out of the database. */
import type pg from "pg";
import { listen } from "../db/listen.js";
import { DomainError } from "../errors.js";
import type { Logger } from "../log.js";
import { warmingChannel } from "./publish.js";

/** Each is a page of rows in memory, and a look into the database for every transaction that publishes. */
export const watchersAtMost = 64;
/** So that one tenant's watchers, whether they read or not, leave places for the others'. */
export const watchersOfTenantAtMost = 16;
/** Longest wait for news while the database is listened to: a notification that got lost costs no more. Also what keeps a watch alive. */
const quietMs = 15_000;
/** While it is not. */
const pollMs = 1_000;

export interface FeedOptions {
  /** Of the runtime role. */
  connection: pg.ClientConfig;
  log: Logger;
}

/** One of a server; its connection is made for the first who watches or follows, and kept until the end. */
export class WarmingFeed {
  readonly #options: FeedOptions;
  readonly #subscriptions = new Map<string, Set<Subscription>>();
  readonly #followers = new Set<(tenantId: string) => void>();
  readonly #stop = new AbortController();
  #watchers = 0;
  #up = false;
  /** Said once: what follows are the attempts to get it back. */
  #saidDown = false;
  #listening: Promise<void> | undefined;

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  /** Close it in the end. Throws RESOURCE_EXHAUSTED. */
  subscribe(tenantId: string): Subscription {
    const ofTenant = this.#subscriptions.get(tenantId) ?? new Set();
    if (ofTenant.size >= watchersOfTenantAtMost) throw tooMany(`${watchersOfTenantAtMost} watches of this tenant`);
    if (this.#watchers >= watchersAtMost) throw tooMany(`${watchersAtMost} watches`);
    this.#listening ??= this.#listen();
    this.#subscriptions.set(tenantId, ofTenant);
    const subscription = new Subscription(
      () => (this.#up ? quietMs : pollMs),
      () => {
        this.#watchers -= 1;
        ofTenant.delete(subscription);
        if (ofTenant.size === 0 && this.#subscriptions.get(tenantId) === ofTenant) this.#subscriptions.delete(tenantId);
      },
    );
    ofTenant.add(subscription);
    this.#watchers += 1;
    return subscription;
  }

  /**
   * Calls `tell` whenever a tenant has published something, until the function that is returned is called. Nothing tells of what was
   * published while the connection was broken: look by yourself from time to time.
   */
  follow(tell: (tenantId: string) => void): () => void {
    this.#listening ??= this.#listen();
    this.#followers.add(tell);
    return () => void this.#followers.delete(tell);
  }

  /** Resolves once its connection is closed. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#listening;
  }

  #listen(): Promise<void> {
    const { connection, log } = this.#options;
    return listen({
      connection,
      channel: warmingChannel,
      onMessage: (tenantId) => {
        for (const subscription of this.#subscriptions.get(tenantId) ?? []) subscription.tell();
        for (const tell of this.#followers) tell(tenantId);
      },
      onUp: () => {
        this.#up = true;
        this.#saidDown = false;
        this.#tellAll();
      },
      onDown: (error) => {
        if (!this.#saidDown) log.warn({ err: error }, "no connection listens for warming events; until one does, watches poll");
        this.#saidDown = true;
        this.#up = false;
        this.#tellAll();
      },
      signal: this.#stop.signal,
    });
  }

  #tellAll(): void {
    for (const ofTenant of this.#subscriptions.values()) for (const subscription of ofTenant) subscription.tell();
  }
}

function tooMany(what: string): DomainError {
  return new DomainError("RESOURCE_EXHAUSTED", `${what} are open on this server already. Try again when one has ended.`, {
    reason: "TOO_MANY_WATCHERS",
    retryDelayMs: 5000,
  });
}

export class Subscription {
  readonly #waitMs: () => number;
  readonly close: () => void;
  #news = false;
  #wake: (() => void) | undefined;

  constructor(waitMs: () => number, close: () => void) {
    this.#waitMs = waitMs;
    this.close = close;
  }

  tell(): void {
    this.#news = true;
    this.#wake?.();
  }

  /** Resolves when something may have come since the last time, after a while in any case, and when `signal` aborts. Read afterwards, never before. */
  async changed(signal: AbortSignal): Promise<void> {
    if (!this.#news && !signal.aborted) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        timer = setTimeout(resolve, this.#waitMs());
        this.#wake = resolve;
        signal.addEventListener("abort", this.#wake, { once: true });
      });
      clearTimeout(timer);
      if (this.#wake) signal.removeEventListener("abort", this.#wake);
      this.#wake = undefined;
    }
    this.#news = false;
  }
}
