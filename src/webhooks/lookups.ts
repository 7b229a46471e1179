/**
 * Looking names up takes a thread of the process for as long as their name servers like, long after the request has given up. Tenants choose the
 * names: so few threads in all, and of a tenant fewer, or one whose name servers are silent would keep files and names from everybody.
 */
import * as dns from "node:dns";
import { lookupsAtMost, lookupsOfTenantAtMost, requestMs } from "./limits.js";
import type { Resolve } from "./post.js";

interface Waiting {
  tenantId: string;
  /** The request that asks has ended by then. */
  untilMs: number;
  start(): void;
  giveUp(): void;
}

/** One of a server. */
export class Lookups {
  readonly #lookup: Resolve;
  readonly #running = new Map<string, number>();
  #threads = 0;
  #waiting: Waiting[] = [];

  constructor(lookup: Resolve = dns.lookup) {
    this.#lookup = lookup;
  }

  /** For requests of a tenant: as dns.lookup, but waits for a thread. */
  of(tenantId: string): Resolve {
    return (hostname, options, callback) => {
      this.#waiting.push({
        tenantId,
        untilMs: performance.now() + requestMs,
        start: () => {
          this.#count(tenantId, 1);
          this.#lookup(hostname, options, (error, addresses) => {
            this.#count(tenantId, -1);
            this.#next();
            callback(error, addresses);
          });
        },
        giveUp: () => callback(Object.assign(new Error("no thread was free to look the name up"), { code: "EAI_AGAIN" }), []),
      });
      this.#next();
    };
  }

  /** The oldest first, but for tenants that have their share. */
  #next(): void {
    const nowMs = performance.now();
    const late = this.#waiting.filter(({ untilMs }) => untilMs <= nowMs);
    this.#waiting = this.#waiting.filter(({ untilMs }) => untilMs > nowMs);
    for (const { giveUp } of late) giveUp();
    while (this.#threads < lookupsAtMost) {
      const at = this.#waiting.findIndex(({ tenantId }) => (this.#running.get(tenantId) ?? 0) < lookupsOfTenantAtMost);
      const [first] = at < 0 ? [] : this.#waiting.splice(at, 1);
      if (first === undefined) return;
      first.start();
    }
  }

  #count(tenantId: string, change: 1 | -1): void {
    const running = (this.#running.get(tenantId) ?? 0) + change;
    this.#threads += change;
    if (running === 0) this.#running.delete(tenantId);
    else this.#running.set(tenantId, running);
  }
}
