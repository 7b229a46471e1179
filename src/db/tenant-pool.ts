/** The query pool: its connections are lent to tenants in turns. */
import pg from "pg";
import { DomainError } from "../errors.js";
import { FairQueue } from "../fairness/fair-queue.js";

/** A connection, and what gives it back: `broken` closes it. */
export interface Lent {
  client: pg.PoolClient;
  release(broken: boolean): void;
}

/** One tenant, however many calls it makes, leaves this part of the pool to others, so that their short calls need not wait for the end of its long ones. */
const leftToOthers = 0.25;

export class TenantPool extends pg.Pool {
  readonly #turns: FairQueue;
  readonly #waitMs: number;

  /** `waitMs`: a caller that has waited so long is told UNAVAILABLE. */
  constructor(config: pg.PoolConfig & { max: number }, waitMs: number) {
    super(config);
    const { max } = config;
    this.#turns = new FairQueue({ places: max, groupAtMost: Math.max(1, max - Math.ceil(max * leftToOthers)) });
    this.#waitMs = waitMs;
  }

  /** Callers that have no connection yet. */
  get waitingCalls(): number {
    return this.#turns.waiting + this.waitingCount;
  }

  /** Throws UNAVAILABLE, and pg's errors. */
  async connectFor(tenantId: string): Promise<Lent> {
    const giveBack = this.#turns.tryTake(tenantId) ?? (await this.#wait(tenantId));
    try {
      const client = await this.connect();
      const release = (broken: boolean) => {
        client.release(broken);
        giveBack();
      };
      return { client, release };
    } catch (error) {
      giveBack();
      throw error;
    }
  }

  #wait(tenantId: string): Promise<() => void> {
    return this.#turns.take(tenantId, AbortSignal.timeout(this.#waitMs)).catch((error) => {
      throw busy(error);
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
export async function connectFor(pool: pg.Pool, tenantId: string): Promise<Lent> {
  if (pool instanceof TenantPool) return pool.connectFor(tenantId);
  const client = await pool.connect();
  return { client, release: (broken) => client.release(broken) };
}
