/** Randomness that can be had again: the seed is printed when the test fails. */
import { randomInt } from "node:crypto";
import { onTestFailed } from "vitest";

export interface Random {
  readonly seed: number;
  /** In [0, 1). */
  next(): number;
  /** A whole number, both ends included. */
  between(low: number, high: number): number;
  pick<T>(items: readonly T[]): T;
  shuffle<T>(items: readonly T[]): T[];
}

/** Call it inside a test. FROSTLINE_TEST_SEED repeats a run. */
export function seededRandom(): Random {
  const wanted = process.env.FROSTLINE_TEST_SEED;
  const seed = wanted === undefined ? randomInt(2 ** 31) : Number(wanted);
  if (!Number.isInteger(seed)) throw new Error(`FROSTLINE_TEST_SEED is ${JSON.stringify(wanted)}; expected a whole number.`);
  onTestFailed(({ task }) => console.error(`"${task.name}" failed with FROSTLINE_TEST_SEED=${seed}`));
  return fromSeed(seed);
}

/** mulberry32. */
export function fromSeed(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (low: number, high: number) => low + Math.floor(next() * (high - low + 1));
  const shuffle = <T>(items: readonly T[]) => {
    const out = [...items];
    for (let i = out.length - 1; i > 0; i--) {
      const j = between(0, i);
      [out[i], out[j]] = [out[j] as T, out[i] as T];
    }
    return out;
  };
  return { seed, next, between, pick: (items) => items[between(0, items.length - 1)] as (typeof items)[number], shuffle };
}
