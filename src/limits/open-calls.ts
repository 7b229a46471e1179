/** How many calls may be open at once, of one group and in total. A group is a tenant; of calls that need no key, an address. */
import { DomainError } from "../errors.js";

/** A stream may last for days, a unary call is over soon: each kind has places of its own. */
export type CallKind = "stream" | "unary";

export interface CallLimits {
  ofGroup: number;
  inTotal: number;
}

/** One call's. It comes free when everybody has let go who held it: the connection, and the code that works for the call. */
export class Place {
  readonly #free: () => void;
  #holders = 1;

  constructor(free: () => void) {
    this.#free = free;
  }

  hold(): void {
    this.#holders += 1;
  }

  /** Once for the place itself, and once for each `hold`. */
  letGo(): void {
    this.#holders -= 1;
    if (this.#holders === 0) this.#free();
  }
}

/** What a refused caller is told to wait, in ms: a stream's place seldom comes free within a second. */
const retryMs: Record<CallKind, number> = { stream: 5000, unary: 1000 };
const plural: Record<CallKind, string> = { stream: "streams", unary: "unary calls" };

/** A unary call that is younger is short until it shows otherwise: the end of a scan takes minutes, and nobody has to wait for that. */
const shortMs = 1000;
/** Whoever makes one call after the other has the next ready so soon. */
const lingerMs = 50;

export class OpenCalls {
  readonly #limits: Record<CallKind, CallLimits>;
  readonly #total: Record<CallKind, number> = { stream: 0, unary: 0 };
  /** By kind and group; those that have none are forgotten. */
  readonly #ofGroup = new Map<string, number>();
  /** The groups of the unary calls that are young, or have just ended. */
  readonly #young = new Set<{ group: string; untilMs: number }>();

  constructor(limits: Record<CallKind, CallLimits>) {
    this.#limits = limits;
  }

  /** Whether unary calls are under way, or were just now, that are likely to be short, of other tenants that have fewer calls open than this group. */
  othersAreWaiting(group: string): boolean {
    this.#forgetOld();
    const own = this.#open(group);
    // One that was just now was open.
    for (const call of this.#young) if (call.group !== group && Math.max(1, this.#open(call.group)) < own) return true;
    return false;
  }

  #forgetOld(): void {
    const nowMs = performance.now();
    for (const call of this.#young) if (call.untilMs < nowMs) this.#young.delete(call);
  }

  #open(group: string): number {
    return (this.#ofGroup.get(`stream ${group}`) ?? 0) + (this.#ofGroup.get(`unary ${group}`) ?? 0);
  }

  /** `isTenant`: no other group's calls are waited for. Throws RESOURCE_EXHAUSTED. */
  take(kind: CallKind, group: string, isTenant = true): Place {
    const key = `${kind} ${group}`;
    const held = this.#ofGroup.get(key) ?? 0;
    const { ofGroup, inTotal } = this.#limits[kind];
    if (held >= ofGroup) throw tooMany(kind, "tenant", ofGroup);
    if (this.#total[kind] >= inTotal) throw tooMany(kind, "server", inTotal);
    this.#ofGroup.set(key, held + 1);
    this.#total[kind] += 1;
    const call = { group, untilMs: performance.now() + shortMs };
    if (kind === "unary" && isTenant) {
      this.#forgetOld();
      this.#young.add(call);
    }
    return new Place(() => {
      this.#total[kind] -= 1;
      call.untilMs = Math.min(call.untilMs, performance.now() + lingerMs);
      const left = (this.#ofGroup.get(key) as number) - 1;
      if (left === 0) this.#ofGroup.delete(key);
      else this.#ofGroup.set(key, left);
    });
  }
}

function tooMany(kind: CallKind, of: "tenant" | "server", limit: number): DomainError {
  const whose = of === "tenant" ? "Your tenant (without a key, your address) has" : "This server has";
  return new DomainError(
    "RESOURCE_EXHAUSTED",
    `${whose} ${limit} ${plural[kind]} open, and may have no more. Try again when one has ended.`,
    {
      reason: kind === "stream" ? "TOO_MANY_STREAMS" : "TOO_MANY_CALLS",
      metadata: { of, limit: String(limit) },
      retryDelayMs: retryMs[kind],
    },
  );
}
