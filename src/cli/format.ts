/** Values as people read them. All pure. */
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";

/** Controls (0x9b alone starts a terminal command), line separators, and marks that turn the writing direction. */
const drivesTerminal = /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** Text that cannot drive a terminal: what could is written as \n, \t, \x1b or \u{202e}. */
export function escaped(text: string): string {
  return text.replace(drivesTerminal, (character) => {
    if (character === "\n") return "\\n";
    if (character === "\t") return "\\t";
    const code = character.codePointAt(0) as number;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
  });
}

/** The same for a message of several lines. */
export function visible(message: string): string {
  return message.split("\n").map(escaped).join("\n");
}

/** JSON text in which the characters JSON itself lets through are escaped as well; still the same JSON value. */
export function safeJson(json: string): string {
  return json.replace(drivesTerminal, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** `1.5 MiB`; `-` when unknown. */
export function bytes(sizeBytes: bigint | number | undefined): string {
  if (sizeBytes === undefined) return "-";
  let value = Number(sizeBytes);
  let unit = 0;
  // 1023.95 KiB would round to 1024.0 KiB.
  while (Math.abs(value) >= (unit === 0 ? 1024 : 1023.95) && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `1,234,567`. */
export function count(value: bigint | number): string {
  return value.toLocaleString("en-US");
}

/** Seconds since 1970 as `2026-01-31T12:00:00Z`; `-` when unknown. */
export function isoTime(unixSeconds: bigint | undefined): string {
  if (unixSeconds === undefined) return "-";
  return new Date(Number(unixSeconds) * 1000).toISOString().replace(".000Z", "Z");
}

export function isoTimestamp(time: Timestamp | undefined): string {
  return time === undefined ? "-" : timestampDate(time).toISOString();
}

/** `1.2 s`, `3 min 5 s`. */
export function duration(milliseconds: number): string {
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  const seconds = Math.round(milliseconds / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

export interface Column {
  title: string;
  align?: "right";
}

/** Lines of a table: columns two spaces apart, the last one never padded. Cells are escaped. */
export function table(columns: Column[], rows: string[][]): string[] {
  const cells = rows.map((row) => row.map(escaped));
  const widths = columns.map((column, i) => Math.max(column.title.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const line = (row: string[]) =>
    columns
      .map((column, i) => {
        const cell = row[i] ?? "";
        if (column.align === "right") return cell.padStart(widths[i] as number);
        return i === columns.length - 1 ? cell : cell.padEnd(widths[i] as number);
      })
      .join("  ")
      .trimEnd();
  return [line(columns.map((column) => column.title)), ...cells.map(line)];
}
