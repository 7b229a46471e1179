/** How fast something goes now, rather than on average since the beginning. */

export interface RateMeter {
  /** `count` more are done. */
  add(count: number): void;
  perSecond(): number;
}

const windowMs = 10_000;
const slotMs = 500;

/** Over the last ten seconds, or since it was made. */
export function createRateMeter(nowMs: () => number = () => performance.now()): RateMeter {
  const madeMs = nowMs();
  let slots: { beganMs: number; count: number }[] = [];
  const forget = (now: number) => {
    if (slots[0] !== undefined && slots[0].beganMs <= now - windowMs) slots = slots.filter(({ beganMs }) => beganMs > now - windowMs);
  };
  return {
    add(count) {
      const now = nowMs();
      forget(now);
      const newest = slots.at(-1);
      if (newest !== undefined && now - newest.beganMs < slotMs) newest.count += count;
      else slots.push({ beganMs: now, count });
    },
    perSecond() {
      const now = nowMs();
      forget(now);
      const spanMs = Math.min(windowMs, Math.max(now - madeMs, slotMs));
      return (slots.reduce((sum, { count }) => sum + count, 0) * 1000) / spanMs;
    },
  };
}
