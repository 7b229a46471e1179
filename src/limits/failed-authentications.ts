/** How many credentials that turn out to be wrong an address may show: beyond it nobody looks any more what they are. */
import { createHash } from "node:crypto";
import { isIPv6 } from "node:net";
import { DomainError } from "../errors.js";

export interface FailedAuthenticationsOptions {
  /** That come back to an address in a minute, and the most it can have. */
  perMinute: number;
  /** Milliseconds of a clock that never goes back. Default: the process's. */
  now?: () => number;
}

/** Addresses, and credentials that were good, of which something is known; beyond it the one longest unused is forgotten. */
const keptAtMost = 10_000;
const minuteMs = 60_000;

interface Bucket {
  tokens: number;
  atMs: number;
}

/**
 * A bucket of tokens for each address. A credential costs one, which it gets back when it is good. One that was good last time
 * costs none: behind one address, a proxy's, those who have a key are served although somebody there tries keys.
 */
export class FailedAuthentications {
  readonly #perMinute: number;
  readonly #now: () => number;
  /** In order of use, as the next. */
  readonly #buckets = new Map<string, Bucket>();
  /** SHA-256 of credentials that were good. */
  readonly #good = new Set<string>();

  constructor({ perMinute, now = () => performance.now() }: FailedAuthenticationsOptions) {
    this.#perMinute = perMinute;
    this.#now = now;
  }

  /**
   * Runs `look`, which says whom a credential stands for, and rejects as it does; it is told whether that was known last time. `isWrong` tells errors that mean the credential from
   * others. Throws RESOURCE_EXHAUSTED instead when the address has shown too many that were wrong.
   */
  async attempt<T>(
    address: string,
    credential: string,
    look: (wasGood: boolean) => Promise<T>,
    isWrong: (error: unknown) => boolean,
  ): Promise<T> {
    const hash = createHash("sha256").update(credential).digest("base64");
    const known = this.#good.delete(hash);
    if (known) this.#good.add(hash);
    // Before the answer is there: of a thousand at once, no more are let through than there are tokens.
    else this.#spend(address);
    try {
      const result = await look(known);
      if (!known) this.#giveBack(address);
      this.#good.add(hash);
      if (this.#good.size > keptAtMost) this.#good.delete(this.#good.values().next().value as string);
      return result;
    } catch (error) {
      if (isWrong(error)) this.#good.delete(hash);
      else if (!known) this.#giveBack(address);
      throw error;
    }
  }

  #spend(address: string): void {
    const bucket = this.#bucket(address);
    if (bucket.tokens < 1) throw tooMany(((1 - bucket.tokens) * minuteMs) / this.#perMinute);
    bucket.tokens -= 1;
  }

  #giveBack(address: string): void {
    const bucket = this.#bucket(address);
    bucket.tokens = Math.min(this.#perMinute, bucket.tokens + 1);
  }

  /** As full as it is now. */
  #bucket(address: string): Bucket {
    const network = networkOf(address);
    const atMs = this.#now();
    const last = this.#buckets.get(network);
    const tokens = last === undefined ? this.#perMinute : last.tokens + ((atMs - last.atMs) * this.#perMinute) / minuteMs;
    const bucket = { tokens: Math.min(this.#perMinute, tokens), atMs };
    this.#buckets.delete(network);
    this.#buckets.set(network, bucket);
    if (this.#buckets.size > keptAtMost) this.#buckets.delete(this.#buckets.keys().next().value as string);
    return bucket;
  }
}

/** Who has an IPv6 address has all 2^64 of its network. */
function networkOf(address: string): string {
  if (!isIPv6(address) || address.toLowerCase().startsWith("::ffff:")) return address;
  const [head = "", tail] = address.split("::", 2);
  const groups = head === "" ? [] : head.split(":");
  // What `::` stands for are zeros, as far as the first half goes.
  while (tail !== undefined && groups.length + tail.split(":").length < 8) groups.push("0");
  return [...groups, ...(tail ?? "").split(":")].slice(0, 4).join(":");
}

function tooMany(waitMs: number): DomainError {
  return new DomainError(
    "RESOURCE_EXHAUSTED",
    "Too many calls with a wrong key or token have come from your address. Put a valid key in place, then try again.",
    { reason: "TOO_MANY_FAILED_AUTHENTICATIONS", retryDelayMs: Math.max(1000, Math.ceil(waitMs)) },
  );
}
