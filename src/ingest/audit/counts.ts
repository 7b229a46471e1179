/** Where audit events went: every one is in exactly one counter. */

export const counterNames = [
  "applied",
  "duplicate",
  "stale",
  "inserted",
  "waiting",
  "moved",
  "deleted",
  "excluded",
  "refused",
  "ignored",
] as const;
export type Counter = (typeof counterNames)[number];
export type Counts = Record<Counter, number>;

export function newCounts(): Counts {
  return { applied: 0, duplicate: 0, stale: 0, inserted: 0, waiting: 0, moved: 0, deleted: 0, excluded: 0, refused: 0, ignored: 0 };
}
