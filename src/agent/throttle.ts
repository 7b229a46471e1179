/** A token bucket, for those who must not load a file server more than so much. */
import { setTimeout as sleep } from "node:timers/promises";

export interface Throttle {
  /** The most to take at once, so that the rate is even: a tenth of a second's worth. */
  readonly batch: number;
  /** Resolves once `count` more may be done. Rejects with the signal's reason. */
  take(count: number, signal: AbortSignal): Promise<void>;
}

/** Up to `perSecond` a second in the long run, and one batch at once. */
export function createThrottle(perSecond: number): Throttle {
  if (!(perSecond > 0)) throw new Error(`A throttle of ${perSecond} a second lets nothing through. Give a number above 0.`);
  const batch = Math.max(1, Math.floor(perSecond / 10));
  /** When everything taken so far is paid for, in ms. */
  let paidAtMs = 0;
  return {
    batch,
    async take(count, signal) {
      const now = performance.now();
      const startMs = Math.max(now, paidAtMs);
      paidAtMs = startMs + (count / perSecond) * 1000;
      if (startMs > now) await sleep(startMs - now, undefined, { signal });
    },
  };
}
