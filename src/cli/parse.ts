/** Readers of option values. All throw commander's InvalidArgumentError, which names the option. */
import { InvalidArgumentError } from "commander";

const multiples = new Map<string, bigint>([
  ["", 1n],
  ["b", 1n],
  ...["k", "m", "g", "t", "p", "e"].flatMap((letter, i) => unitsOf(letter, i + 1)),
]);
const secondsOf: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800, y: 31_557_600 };
const largestInt64 = 2n ** 63n - 1n;

function unitsOf(letter: string, power: number): [string, bigint][] {
  const binary = 1024n ** BigInt(power);
  return [
    [letter, binary],
    [`${letter}ib`, binary],
    [`${letter}b`, 1000n ** BigInt(power)],
  ];
}

/** `4096`, `10MiB` and `10M` (times 1,048,576), `10MB` (times 1,000,000), `1.5GiB`: bytes. */
export function parseSize(text: string): bigint {
  const match = /^(\d+)(?:\.(\d{1,6}))?\s*([a-z]*)$/i.exec(text.trim());
  const unit = match ? multiples.get((match[3] as string).toLowerCase()) : undefined;
  if (!match || unit === undefined) throw new InvalidArgumentError("It must be a size such as 4096, 10MiB or 1.5GB.");
  const millionths = BigInt(match[1] as string) * 1_000_000n + BigInt((match[2] ?? "").padEnd(6, "0"));
  return within((millionths * unit) / 1_000_000n);
}

/** A date, a time in ISO 8601 (UTC unless it says otherwise), or an age such as `180d`: seconds since 1970, rounded towards the past. */
export function parseTime(text: string, nowMs = Date.now()): bigint {
  const age = /^(\d+)([smhdwy])$/.exec(text);
  if (age) return BigInt(Math.floor(nowMs / 1000 - Number(age[1]) * (secondsOf[age[2] as string] as number)));
  const iso = /^[+-]?\d{4,6}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/.exec(text);
  const milliseconds = iso ? Date.parse(iso[1] !== undefined && iso[4] === undefined ? `${text}Z` : text) : Number.NaN;
  if (Number.isNaN(milliseconds))
    throw new InvalidArgumentError("It must be a time such as 2026-01-31 or 2026-01-31T12:00:00Z, or an age such as 180d.");
  return BigInt(Math.floor(milliseconds / 1000));
}

/** A scan's number. */
export function parseScanId(text: string): bigint {
  if (!/^[1-9]\d{0,18}$/.test(text))
    throw new InvalidArgumentError("It must be the number of a scan; `frostline scans --share NAME` lists them.");
  return within(BigInt(text));
}

/** A position of a watch, 0 or more. */
export function parsePosition(text: string): bigint {
  if (!/^\d{1,19}$/.test(text)) throw new InvalidArgumentError("It must be a position: a whole number, 0 or more.");
  return within(BigInt(text));
}

/** A whole number of at least `least`. */
export function parseWhole(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || !Number.isSafeInteger(value))
      throw new InvalidArgumentError(`It must be a whole number, ${least} or more.`);
    return value;
  };
}

/** Seconds from 0.1 to 3,600, with decimals: milliseconds. */
export function parseSeconds(text: string): number {
  const milliseconds = Math.round(Number(text) * 1000);
  if (!/^\d+(\.\d+)?$/.test(text) || milliseconds < 100 || milliseconds > 3_600_000)
    throw new InvalidArgumentError("It must be a number of seconds, from 0.1 to 3600.");
  return milliseconds;
}

/** `6h`, `2d`: whole seconds. */
export function parseDuration(text: string): number {
  const [, number, unit = ""] = /^(\d{1,9})([smhdwy])$/.exec(text) ?? [];
  const seconds = Number(number) * (secondsOf[unit] ?? Number.NaN);
  if (!Number.isSafeInteger(seconds)) throw new InvalidArgumentError("It must be a duration such as 90s, 6h or 2d.");
  return seconds;
}

/** For an option that may be given several times. */
export function collect(text: string, before: string[] = []): string[] {
  return [...before, text];
}

function within(value: bigint): bigint {
  if (value > largestInt64) throw new InvalidArgumentError("It must be at most 2^63-1.");
  return value;
}
