/** Random constants of rule expressions, taken from the files as often as not, so that comparisons are near the edge. */
import type { FileValues } from "../../src/planner/cel/index.js";
import { formatTimestamp } from "../../src/planner/cel/literals.js";
import { binary, group, space, spell } from "./cel-spelling.js";
import { earliestUnix, latestUnix, nowUnix, randomSize, randomText, randomTime } from "./cel-values.js";
import type { Random } from "./random.js";

export interface Source {
  random: Random;
  files: FileValues[];
}

export const stringVariables = ["share", "path", "dir", "name", "extension", "owner", "tier_state"] as const;

/** What the variable can be: a text that it never is would be refused. */
export function textFor({ random, files }: Source, variable: (typeof stringVariables)[number]): string {
  if (variable === "tier_state") return random.pick(["", "PLANNED", "STUBBED", "REHYDRATED", "DELETED"]);
  const whole = random.next() < 0.5 ? random.pick(files)[variable] : randomText(random);
  if (variable === "extension") return whole.toLowerCase().replace(/^\.+/, "");
  if (random.next() < 0.6) return whole;
  const characters = [...whole];
  return characters.slice(random.between(0, 2), characters.length - random.between(0, 2)).join("");
}

const patternCharacters = [..."*?abm.[]{}()^$|+\\%_𝒳é\n-"];

/** A pattern for glob(): made up, or a file's path with wildcards in it. */
export function pattern(source: Source): string {
  const { random } = source;
  const component = () => Array.from({ length: random.between(0, 4) }, () => random.pick(patternCharacters)).join("");
  const components =
    random.next() < 0.5
      ? Array.from({ length: random.between(1, 4) }, component)
      : textFor(source, "path")
          .replace(/[a-m𝒳]/gu, (found) => random.pick([found, found, "*", "?"]))
          .split("/");
  const text = components.map((part) => (random.next() < 0.15 ? "**" : part.replace(/\*+/g, "*"))).join("/");
  return `${random.pick(["", "", "/"])}${text}` || "*";
}

export function intLiteral({ random, files }: Source): string {
  const value = random.next() < 0.5 ? random.pick(files).size : randomSize(random);
  if (random.next() < 0.15)
    return group(random, binary(random, String(random.between(0, 1023)), "*", random.pick(["KB", "MB", "GB", "TB", "PB"])));
  if (random.next() > 0.15) return String(value);
  return value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

export function factor({ random }: Source): string {
  return random.pick(["0", "1", "-1", "2", "3", "-7", "1000", "KB", "PB", "9223372036854775807", "-9223372036854775808"]);
}

export function timeLiteral({ random, files }: Source): string {
  const unix = random.next() < 0.5 ? random.pick(files).mtime : randomTime(random);
  const offsetHours = random.next() < 0.3 ? random.between(-23, 23) : 0;
  const local = unix + BigInt(offsetHours) * 3600n;
  const hours = String(Math.abs(offsetHours)).padStart(2, "0");
  const text =
    offsetHours === 0 || local < earliestUnix || local > latestUnix
      ? formatTimestamp(unix)
      : formatTimestamp(local).replace("Z", `${offsetHours < 0 ? "-" : "+"}${hours}:00`);
  return `timestamp(${space(random)}${spell(random, text)})`;
}

const durations = [
  "0s",
  "1s",
  "-1s",
  "90d",
  "-90d",
  "+1d",
  "1d2h3m4s",
  "36500d",
  "106751d",
  "-106751d",
  "9223372036s",
  "-9223372036s",
  "24h",
  "1440m",
];

export function durationLiteral({ random, files }: Source): string {
  const ageSeconds = nowUnix - random.pick(files).last_used;
  const near = ageSeconds > -9_000_000_000n && ageSeconds < 9_000_000_000n && random.next() < 0.5;
  return `duration(${space(random)}${spell(random, near ? `${ageSeconds}s` : random.pick(durations))})`;
}
