/** Whether the server takes calls: the database answers, and it is not stopping. For probes, load balancers and watchers. */
import pg from "pg";
import { DomainError } from "../errors.js";
import type { Logger } from "../log.js";

export interface HealthState {
  serving: boolean;
  /** Why not. */
  reason: "" | "database" | "stopping";
}

/** Between two questions to the database. */
const probeMs = 2_000;
/** Each is an open stream. */
const watchersAtMost = 256;

export class Health {
  readonly #connection: pg.ClientConfig;
  readonly #log: Logger;
  #database: pg.Client | undefined;
  /** The start has just spoken to it. */
  #databaseUp = true;
  #stopping = false;
  #timer: NodeJS.Timeout | undefined;
  #probing: Promise<void> = Promise.resolve();
  #closed = false;
  #watchers = 0;
  readonly #wake = new Set<() => void>();

  /** Asks over a connection of its own: a pool that is busy is no database that is down. */
  constructor(connection: pg.ClientConfig, log: Logger) {
    this.#connection = connection;
    this.#log = log;
    this.#schedule();
  }

  get state(): HealthState {
    if (this.#stopping) return { serving: false, reason: "stopping" };
    return this.#databaseUp ? { serving: true, reason: "" } : { serving: false, reason: "database" };
  }

  /** The first thing a stopping server does, so that nobody sends it more. */
  stop(): void {
    this.#stopping = true;
    this.#tell();
  }

  /** Yields the state and each change, and ends after `stop()` or with the signal. Throws RESOURCE_EXHAUSTED. */
  async *watch(signal: AbortSignal): AsyncGenerator<HealthState> {
    if (this.#watchers >= watchersAtMost) {
      throw new DomainError("RESOURCE_EXHAUSTED", `${watchersAtMost} watches of health are open on this server already. Use Check.`, {
        reason: "TOO_MANY_WATCHERS",
        retryDelayMs: 5000,
      });
    }
    this.#watchers++;
    try {
      let told: HealthState | undefined;
      while (!signal.aborted) {
        const now = this.state;
        if (told?.serving !== now.serving) yield now;
        told = now;
        if (now.reason === "stopping") return;
        // Nothing may change between the look above and the wait; while it yielded, something may have.
        if (this.state.serving === now.serving && !this.#stopping) await this.#change(signal);
      }
    } finally {
      this.#watchers--;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#probing;
    await this.#database?.end();
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#probing = this.#probe().finally(() => this.#schedule());
    }, probeMs);
    this.#timer.unref();
  }

  async #probe(): Promise<void> {
    try {
      this.#database ??= await this.#connect();
      await this.#database.query("SELECT 1");
      this.#set(true, undefined);
    } catch (error) {
      this.#drop();
      this.#set(false, error);
    }
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client({ ...this.#connection, application_name: "frostline-health" });
    // The next question meets it.
    client.on("error", () => {});
    await client.connect();
    return client;
  }

  /** Not waited for: one that hangs would keep the next question from being asked. How its end goes changes nothing. */
  #drop(): void {
    this.#database?.end().catch(() => {});
    this.#database = undefined;
  }

  #set(up: boolean, error: unknown): void {
    if (this.#databaseUp === up) return;
    this.#databaseUp = up;
    if (up) this.#log.info("the database answers again; health is SERVING");
    else this.#log.warn({ err: error }, "the database does not answer; health is NOT_SERVING");
    this.#tell();
  }

  #tell(): void {
    for (const wake of [...this.#wake]) wake();
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#wake.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#wake.add(done);
      signal.addEventListener("abort", done, { once: true });
    });
  }
}
