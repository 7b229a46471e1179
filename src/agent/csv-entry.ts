/** A row's fields as a file, or what is wrong with them. Pure. */
import type { Column } from "./csv-rows.js";
import { type FileEntry, noBytes } from "./listing.js";

export interface PathParts {
  /** `/` or `/a/b`. */
  directory: string;
  name: string;
}

/** Directory and name of a path from the share's root, or what is wrong with it. */
export function splitPath(path: string, backslashSeparates: boolean): PathParts | { problem: string } {
  const text = backslashSeparates ? path.replaceAll("\\", "/") : path;
  if (text === "") return { problem: "the path is empty" };
  if (!text.startsWith("/")) return { problem: "the path does not start with / (the share's root)" };
  const parts = text.slice(1).split("/");
  if (parts.at(-1) === "") return { problem: "the path ends with a separator: it names no file" };
  for (const part of parts) {
    if (part === "") return { problem: "the path has two separators in a row" };
    if (part === "." || part === "..") return { problem: `the path has the part ${part}` };
    if (part.includes("\0")) return { problem: "the path has a NUL" };
  }
  return { directory: `/${parts.slice(0, -1).join("/")}`, name: parts.at(-1) as string };
}

const uint64Max = 2n ** 64n - 1n;
/** Far beyond every calendar, and differences of two still fit in 64 bits. */
const timeMax = 2n ** 61n;

/** The file, or the reason why its values cannot be taken. `name` holds one byte a character, like the fields. */
export function toFileEntry(name: string, fields: Partial<Record<Column, string>>): FileEntry | { problem: string } {
  const problems: string[] = [];
  const whole = (column: Column, min: bigint, max: bigint): bigint | undefined => {
    const text = (fields[column] ?? "").trim();
    if (text === "") return undefined;
    const value = /^[+-]?\d{1,20}$/.test(text) ? BigInt(text.replace("+", "")) : undefined;
    if (value !== undefined && value >= min && value <= max) return value;
    const range = min === 0n ? `from 0 to ${max}` : "in seconds";
    problems.push(`${column} is not a whole number ${range}: ${JSON.stringify(text.slice(0, 40))}`);
    return undefined;
  };
  const needed = (column: Column, min: bigint, max: bigint): bigint => {
    if ((fields[column] ?? "").trim() === "") problems.push(`${column} is empty`);
    return whole(column, min, max) ?? 0n;
  };
  const hash = (fields.file_hash ?? "").trim();
  if (hash !== "" && !/^[0-9a-fA-F]{64}$/.test(hash)) problems.push("file_hash is not a SHA-256 in hex (64 digits)");
  const entry: FileEntry = {
    name: Buffer.from(name, "latin1"),
    sizeBytes: needed("size_bytes", 0n, uint64Max),
    atimeUnix: needed("atime_unix", -timeMax, timeMax),
    mtimeUnix: needed("mtime_unix", -timeMax, timeMax),
    ctimeUnix: needed("ctime_unix", -timeMax, timeMax),
    frn: whole("frn", 0n, uint64Max),
    allocatedBytes: whole("allocated_bytes", 0n, uint64Max),
    linkCount: Number(whole("link_count", 0n, 0xffffffffn) ?? 0n),
    owner: Buffer.from(fields.owner ?? "", "latin1").toString(),
    fileHash: hash === "" ? noBytes : Buffer.from(hash, "hex"),
  };
  return problems.length === 0 ? entry : { problem: problems.join("; ") };
}
