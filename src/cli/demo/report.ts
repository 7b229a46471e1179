/** What the demo shows of a share: the oldest and largest files, and the age by size table. Memory does not grow with the share. */
import type { FileInfo } from "../../gen/frostline/v1/file_pb.js";
import { bytes, count, isoTime, table } from "../format.js";

const dayS = 86_400;
const mebibyte = 1024 * 1024;
/** Each class ends below its limit. */
const ageClasses: [string, number][] = [
  ["< 30 d", 30 * dayS],
  ["30-180 d", 180 * dayS],
  ["180 d-1 y", 365 * dayS],
  ["1-3 y", 3 * 365 * dayS],
  ["> 3 y", Number.POSITIVE_INFINITY],
];
const sizeClasses: [string, number][] = [
  ["< 1 MiB", mebibyte],
  ["1-100 MiB", 100 * mebibyte],
  ["100 MiB-1 GiB", 1024 * mebibyte],
  ["> 1 GiB", Number.POSITIVE_INFINITY],
];
const topSize = 10;

/** A file as the report needs it. */
interface Seen {
  path: string;
  sizeBytes: number;
  /** The later of atime and mtime, in seconds since 1970. */
  lastUsedUnix: number;
}

interface Cell {
  files: number;
  sizeBytes: number;
}

export interface InventoryReport {
  add(file: FileInfo): void;
  lines(): string[];
}

/** `nowUnix` is the second that ages are counted from. */
export function createReport(nowUnix: number): InventoryReport {
  const cells = ageClasses.map(() => sizeClasses.map((): Cell => ({ files: 0, sizeBytes: 0 })));
  const oldest = topList((a, b) => a.lastUsedUnix - b.lastUsedUnix);
  const largest = topList((a, b) => b.sizeBytes - a.sizeBytes);
  return {
    add(file) {
      const seen = seenOf(file);
      if (seen === undefined) return;
      const cell = cells[classOf(ageClasses, nowUnix - seen.lastUsedUnix)]?.[classOf(sizeClasses, seen.sizeBytes)] as Cell;
      cell.files += 1;
      cell.sizeBytes += seen.sizeBytes;
      oldest.add(seen);
      largest.add(seen);
    },
    lines: () => [
      "Oldest files, by last use (the later of last access and last modification):",
      ...topTable(oldest.items),
      "",
      "Largest files:",
      ...topTable(largest.items),
      "",
      "Files and bytes, age (since last use) by size:",
      ...ageTable(cells),
    ],
  };
}

/** Keeps the first ten in the order of `compare`; equal ones in the order of their arrival. */
function topList(compare: (a: Seen, b: Seen) => number): { items: Seen[]; add(seen: Seen): void } {
  const items: Seen[] = [];
  return {
    items,
    add(seen) {
      const last = items[topSize - 1];
      if (last !== undefined && compare(seen, last) >= 0) return;
      const at = items.findIndex((item) => compare(seen, item) < 0);
      items.splice(at === -1 ? items.length : at, 0, seen);
      if (items.length > topSize) items.pop();
    },
  };
}

/** Undefined for a file without size or times: it has no place in the table. */
function seenOf(file: FileInfo): Seen | undefined {
  if (file.sizeBytes === undefined || file.mtimeUnix === undefined) return undefined;
  const lastUsedUnix = Math.max(Number(file.atimeUnix ?? file.mtimeUnix), Number(file.mtimeUnix));
  return { path: file.path, sizeBytes: Number(file.sizeBytes), lastUsedUnix };
}

function classOf(classes: [string, number][], value: number): number {
  return classes.findIndex(([, limit]) => value < limit);
}

function topTable(items: Seen[]): string[] {
  return table(
    [{ title: "LAST USE" }, { title: "SIZE", align: "right" }, { title: "PATH" }],
    items.map((seen) => [isoTime(BigInt(seen.lastUsedUnix)), bytes(seen.sizeBytes), seen.path]),
  );
}

function ageTable(cells: Cell[][]): string[] {
  const sum = (some: Cell[]): Cell =>
    some.reduce((a, b) => ({ files: a.files + b.files, sizeBytes: a.sizeBytes + b.sizeBytes }), { files: 0, sizeBytes: 0 });
  const show = (cell: Cell) => (cell.files === 0 ? "-" : `${count(cell.files)} / ${bytes(cell.sizeBytes)}`);
  const rows = cells.map((row, i) => [ageClasses[i]?.[0] ?? "", ...row.map(show), show(sum(row))]);
  const totals = sizeClasses.map((_, i) => sum(cells.map((row) => row[i] as Cell)));
  return table(
    [{ title: "AGE" }, ...sizeClasses.map(([title]) => ({ title, align: "right" as const })), { title: "ALL", align: "right" }],
    [...rows, ["all", ...totals.map(show), show(sum(totals))]],
  );
}
