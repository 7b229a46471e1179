/** Which faults strike when: the same for the same seed, and made before anything runs, so that a round can be played again. */
import type { Random } from "../support/random.js";

export const faultKinds = [
  "kill agent",
  "kill server",
  "kill postgres",
  "pause agent",
  "pause server",
  "pause postgres",
  "restart postgres",
  "cut",
  "delay",
  "throttle",
  "half-close",
  "stall",
  "terminate copy",
  "terminate merge",
  "exhaust connections",
  "fill disk",
  "skew clock",
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface Fault {
  /** From the beginning of the round. */
  atMs: number;
  kind: FaultKind;
  /** Of those that there are of its sort then: this one, counted around. */
  target: number;
  /** How long it lasts, for those that do. */
  forMs: number;
  /** In [0, 1): how much of it, see inject.ts. */
  amount: number;
}

/** Or so long it may take until there is something to strike. */
const longestMs: Partial<Record<FaultKind, number>> = {
  "pause agent": 5000,
  "pause server": 4000,
  "pause postgres": 3000,
  "kill postgres": 1500,
  cut: 1500,
  delay: 3000,
  throttle: 3000,
  "half-close": 2000,
  stall: 3000,
  "terminate copy": 8000,
  "terminate merge": 8000,
  "exhaust connections": 2000,
  "fill disk": 2500,
};

/** Every kind comes once before one comes again. `meanGapMs`: between two faults. */
export function planFaults(random: Random, durationMs: number, meanGapMs: number, kinds: readonly FaultKind[]): Fault[] {
  const faults: Fault[] = [];
  let order: FaultKind[] = [];
  for (let atMs = random.between(0, meanGapMs); atMs < durationMs; atMs += random.between(meanGapMs / 4, (meanGapMs * 7) / 4)) {
    if (order.length === 0) order = random.shuffle(kinds);
    const kind = order.pop() as FaultKind;
    const longest = longestMs[kind] ?? 0;
    const shortest = kind.startsWith("terminate") ? longest : longest / 10;
    const forMs = Math.min(longest === 0 ? 0 : random.between(shortest, longest), durationMs - atMs);
    faults.push({ atMs, kind, target: random.between(0, 1000), forMs, amount: random.next() });
  }
  return faults;
}
