/** What stands in duration("...") and timestamp("..."). Both give undefined for what is refused; the caller knows the position. */
import { timeRange, writtenDurationSecondsAtMost } from "./language.js";

const secondsOf: Readonly<Record<string, bigint>> = { d: 86_400n, h: 3_600n, m: 60n, s: 1n };

/** CEL's grammar with a day unit and without fractions, for times are kept in whole seconds: "90d", "-1h30m". In seconds. */
export function parseDuration(text: string): bigint | undefined {
  const match = /^([+-]?)((?:\d{1,19}[dhms])+)$/.exec(text);
  if (!match) return undefined;
  let seconds = 0n;
  for (const [, digits, unit] of (match[2] as string).matchAll(/(\d+)([dhms])/g))
    seconds += BigInt(digits as string) * (secondsOf[unit as string] as bigint);
  if (seconds > writtenDurationSecondsAtMost) return undefined;
  return match[1] === "-" ? -seconds : seconds;
}

/** RFC 3339 in whole seconds, in the years 0001 to 9999. In unix seconds. */
export function parseTimestamp(text: string): bigint | undefined {
  const match = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:Z|([+-])(\d\d):(\d\d))$/.exec(text);
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [number, number, number, number, number, number];
  const utc = new Date(0);
  // Date.UTC takes a year below 100 for one of the last century.
  utc.setUTCFullYear(year, month - 1, day);
  utc.setUTCHours(hour, minute, second);
  // February 30 and 24:00:60 would roll over into another time.
  if (utc.toISOString() !== `${text.slice(0, 19)}.000Z`) return undefined;
  const [offsetHours, offsetMinutes] = [Number(match[8] ?? 0), Number(match[9] ?? 0)];
  if (offsetHours > 23 || offsetMinutes > 59) return undefined;
  const offsetSeconds = BigInt(offsetHours * 3600 + offsetMinutes * 60);
  const seconds = BigInt(utc.getTime() / 1000) - (match[7] === "-" ? -offsetSeconds : offsetSeconds);
  return seconds < timeRange.low || seconds > timeRange.high ? undefined : seconds;
}

/** The same in UTC: what the CEL library and people read. */
export function formatTimestamp(unixSeconds: bigint): string {
  return new Date(Number(unixSeconds) * 1000).toISOString().replace(".000Z", "Z");
}
