/** Classes of age (seconds since last use) and size that files are counted in. */

const daySeconds = 86_400n;
const mebibyte = 1024n ** 2n;

/** Where classes begin but the first, which begins at 0 (or before, for times in the future). */
export const ageBounds: readonly bigint[] = [30n, 90n, 180n, 365n, 730n, 1825n].map((days) => days * daySeconds);
export const sizeBounds: readonly bigint[] = [
  mebibyte / 16n,
  mebibyte,
  16n * mebibyte,
  128n * mebibyte,
  1024n * mebibyte,
  10n * 1024n * mebibyte,
];

/** SQL: 0 for what lies before the first bound. */
export function ageClassSql(lastUsed: string, nowPlace: string): string {
  return `width_bucket(${nowPlace}::bigint - ${lastUsed}, ${boundsSql(ageBounds)})`;
}

export function sizeClassSql(size: string): string {
  return `width_bucket(${size}, ${boundsSql(sizeBounds)})`;
}

function boundsSql(bounds: readonly bigint[]): string {
  return `'{${bounds.join(",")}}'::bigint[]`;
}

/** What a class covers: from, and the first beyond. */
export function classOf(bounds: readonly bigint[], at: number): { from: bigint; below: bigint | undefined } {
  return { from: at === 0 ? 0n : (bounds[at - 1] as bigint), below: bounds[at] };
}
