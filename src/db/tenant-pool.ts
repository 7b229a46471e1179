/** The query pool: its connections are lent to tenants in turns. */
import pg from "pg";
import { DomainError } from "../errors.js";
import { FairQueue } from "../fairness/fair-queue.js";

/** A connection, and what gives it back: `broken` closes it. */
export interface Lent {
  client: pg.PoolClient;
  release(broken: boolean): void;
  /** Cancels the statement that runs on it, over another connection. */
  cancel(): Promise<unknown>;
}

/** One tenant, however many calls it makes, leaves this part of the pool to others, so that their short calls need not wait for the end of its long ones. */
const leftToOthers = 0.25;

export class TenantPool extends pg.Pool {
  readonly #turns: FairQueue;
  readonly #waitMs: number;
  readonly #cancelling: pg.Pool;

  /** `waitMs`: a caller that has waited so long is told UNAVAILABLE. `cancelling`: connections for cancelling what runs on those of this pool. */
  constructor(config: pg.PoolConfig & { max: number }, waitMs: number, cancelling: pg.Pool) {
    super(config);
    this.#cancelling = cancelling;
    const { max } = config;
    this.#turns = new FairQueue({ places: max, groupAtMost: Math.max(1, max - Math.ceil(max * leftToOthers)) });
    this.#waitMs = waitMs;
  }

  /** Callers that have no connection yet. */
  get waitingCalls(): number {
    return this.#turns.waiting + this.waitingCount;
  }

  /** Throws UNAVAILABLE, the signal's reason when it aborts before the tenant's turn, and pg's errors. */
  async connectFor(tenantId: string, signal?: AbortSignal): Promise<Lent> {
    signal?.throwIfAborted();
    const giveBack = this.#turns.tryTake(tenantId) ?? (await this.#wait(tenantId, signal));
    try {
      const client = await this.connect();
      const release = (broken: boolean) => {
        client.release(broken);
        giveBack();
      };
      return { client, release, cancel: () => cancel(this.#cancelling, client) };
    } catch (error) {
      giveBack();
      throw error;
    }
  }

  #wait(tenantId: string, signal: AbortSignal | undefined): Promise<() => void> {
    const timeout = AbortSignal.timeout(this.#waitMs);
    return this.#turns.take(tenantId, signal === undefined ? timeout : AbortSignal.any([timeout, signal])).catch((error) => {
      throw signal?.aborted ? error : busy(error);
    });
  }
}

function busy(cause: unknown): DomainError {
  return new DomainError("UNAVAILABLE", "All connections to the database that your tenant may have at once are in use. Try again.", {
    reason: "DATABASE_BUSY",
    retryDelayMs: 1000,
    cause,
  });
}

/** A connection for a transaction of the tenant, in its turn if the pool has turns. */
export async function connectFor(pool: pg.Pool, tenantId: string, signal?: AbortSignal): Promise<Lent> {
  if (pool instanceof TenantPool) return pool.connectFor(tenantId, signal);
  const client = await pool.connect();
  return { client, release: (broken) => client.release(broken), cancel: () => cancel(pool, client) };
}

/** Of a role's own connections it may cancel each. */
function cancel(pool: pg.Pool, client: pg.PoolClient): Promise<unknown> {
  return pool.query("SELECT pg_cancel_backend($1)", [(client as pg.PoolClient & { processID: number }).processID]);
}
