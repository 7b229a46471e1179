/**
 * Storms: times in which something reads all there is, a virus scanner or a backup that nobody excluded. Pure.
 *
 * A minute in which more different tiered files are accessed than the share's limit makes a storm. It lasts until
 * `quietMicros` have passed without another such minute, by the time of the accesses: a trail that is read
 * late tells of a storm that is over, and its accesses are no less a scanner's for that.
 */
import type { Touch } from "./touch.js";

export const minuteMicros = 60_000_000n;
export const quietMicros = 5n * minuteMicros;
/** The end of the year 9999, which accesses may have and messages can say. */
const latestMicros = 253_402_300_799_999_999n;

export interface Storm {
  /** Undefined until it is stored. */
  position: bigint | undefined;
  beganMicros: bigint;
  /** End of the last minute over the limit. */
  overUntilMicros: bigint;
  /** From here on it is over. */
  untilMicros: bigint;
  /** In the minute that made it one. */
  files: bigint;
  /** Recorded as part of it so far. */
  accesses: bigint;
}

export interface BusyMinute {
  beginsMicros: bigint;
  /** Different files, more than the limit. */
  files: bigint;
}

export function minuteOf(timeMicros: bigint): bigint {
  const past = timeMicros % minuteMicros;
  return timeMicros - (past < 0n ? past + minuteMicros : past);
}

/** Minutes of `touches` that are not known yet to lie between the first and the last busy minute of a storm. */
export function minutesToCount(storms: readonly Storm[], touches: readonly Touch[]): bigint[] {
  const minutes = new Set(touches.map(({ timeMicros }) => minuteOf(timeMicros)));
  return [...minutes].filter((minute) => !storms.some((storm) => storm.beganMicros <= minute && minute < storm.overUntilMicros));
}

/** Storms with `busy` minutes, in the order of time: each makes one longer, or begins another. */
export function addBusyMinutes(storms: readonly Storm[], busy: readonly BusyMinute[]): Storm[] {
  const known = storms.map((storm) => ({ ...storm }));
  for (const { beginsMicros, files } of busy) {
    const end = beginsMicros + minuteMicros;
    let storm = stormAt(known, beginsMicros);
    if (!storm) {
      storm = { position: undefined, beganMicros: beginsMicros, overUntilMicros: end, untilMicros: end, files, accesses: 0n };
      known.push(storm);
    }
    if (end > storm.overUntilMicros) storm.overUntilMicros = end;
    storm.untilMicros = storm.overUntilMicros + quietMicros;
    if (storm.untilMicros > latestMicros) storm.untilMicros = latestMicros;
  }
  return known;
}

/** The one that began first of those that were on then. */
export function stormAt<S extends Pick<Storm, "beganMicros" | "untilMicros">>(storms: readonly S[], timeMicros: bigint): S | undefined {
  return storms.find(({ beganMicros, untilMicros }) => beganMicros <= timeMicros && timeMicros < untilMicros);
}
