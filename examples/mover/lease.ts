/** A claim as long as it is ours. */
import type { TierClaim } from "../../src/gen/frostline/v1/tier_pb.js";
import { isAccepted, type MoverClient } from "./client.js";
import type { Stamp } from "./files.js";

/** Somebody else has the object, or its state has changed: nothing of it may be touched any more. */
export class LeaseLost extends Error {}

export class Lease {
  readonly claim: TierClaim;
  /** Aborts when the lease is lost: a long copy ends then. */
  readonly signal: AbortSignal;
  readonly #client: MoverClient;
  readonly #seconds: number;
  readonly #lost = new AbortController();
  readonly #timer: NodeJS.Timeout;

  /** Renews the lease, long before it ends, until `end` is called. */
  constructor(client: MoverClient, claim: TierClaim, seconds: number) {
    this.claim = claim;
    this.signal = this.#lost.signal;
    this.#client = client;
    this.#seconds = seconds;
    // Fails when the lease is lost, or the server is away for long: then the work ends as well.
    this.#timer = setInterval(() => void this.#renew({}).catch((error) => this.#lost.abort(error)), (seconds * 1000) / 3);
    this.#timer.unref();
  }

  /** Says what is about to take the file's place, and makes sure that the claim is still ours. Throws LeaseLost. */
  async announce(stub: Stamp, objectUri: string): Promise<void> {
    await this.#renew({ stub, objectUri });
  }

  /** Throws LeaseLost. */
  async assertOurs(): Promise<void> {
    await this.#renew({});
  }

  end(): void {
    clearInterval(this.#timer);
  }

  async #renew(announced: { stub?: Stamp; objectUri?: string }): Promise<void> {
    this.signal.throwIfAborted();
    const result = await this.#client.report(this.claim, { case: "progress", value: { leaseSeconds: this.#seconds, ...announced } });
    if (!isAccepted(result)) throw new LeaseLost(result.message);
  }
}
