/** What of a record or a listing can be stored, and why the rest can't. Pure. */
import { isUtf8 } from "node:buffer";
import type { SourceType } from "../paths.js";
import type { RecordView } from "./chunk-reader.js";
import { earliestUnix, latestUnix, levelsAtMost, nameBytesAtMost, ownerBytesAtMost, pathBytesAtMost } from "./limits.js";

const slash = 0x2f;
const backslash = 0x5c;
const dot = 0x2e;
/** Longer than any extension in use; what follows the last dot of a longer one is just a name. */
const extensionBytesAtMost = 32;
const noBytes = new Uint8Array();

/** Why a name can't be stored, or undefined. */
export function nameFault(name: Uint8Array, srcType: SourceType): string | undefined {
  if (name.length === 0) return "the name is empty";
  if (name.length > nameBytesAtMost) return `the name has ${name.length} bytes; the most is ${nameBytesAtMost}`;
  if (name.includes(0)) return "the name contains a NUL byte";
  if (name.includes(slash)) return "the name contains a separator (/)";
  if (srcType !== "LucidLink" && name.includes(backslash)) return "the name contains a separator (\\)";
  if (name[0] === dot && (name.length === 1 || (name.length === 2 && name[1] === dot))) return "the name is . or ..";
  if (!isUtf8(name)) return "the name is not UTF-8";
  return undefined;
}

/** Why the values of a record can't be stored, or undefined. `owners` are the chunk's. */
export function valueFault(record: RecordView, owners: Uint8Array[]): string | undefined {
  // Halves of 64-bit numbers: beyond 2^63-1 the upper one has its first bit set.
  if (record.sizeHigh > 0x7fffffff) return `size_bytes is ${joinHalves(record.sizeHigh, record.sizeLow)}; the most is 2^63-1`;
  if (record.hasAllocated && record.allocatedHigh > 0x7fffffff)
    return `allocated_bytes is ${joinHalves(record.allocatedHigh, record.allocatedLow)}; the most is 2^63-1`;
  if (record.linkCount > 0x7fffffff) return `link_count is ${record.linkCount}; the most is 2^31-1`;
  const hashBytes = record.hashEnd - record.hashStart;
  if (hashBytes !== 0 && hashBytes !== 32) return `file_hash has ${hashBytes} bytes; SHA-256 has 32`;
  return (
    ownerFault(record.ownerIndex, owners) ??
    timeFault("mtime_unix", record.mtimeUnix) ??
    timeFault("atime", record.atimeUnix) ??
    timeFault("ctime", record.ctimeUnix)
  );
}

function ownerFault(ownerIndex: number, owners: Uint8Array[]): string | undefined {
  if (ownerIndex === 0) return undefined;
  const owner = owners[ownerIndex - 1];
  if (owner === undefined) return `owner_index is ${ownerIndex}, but the chunk has ${owners.length} owners`;
  if (owner.length > ownerBytesAtMost) return `its owner has ${owner.length} bytes; the most is ${ownerBytesAtMost}`;
  if (owner.includes(0)) return "its owner contains a NUL byte";
  return undefined;
}

function timeFault(field: string, seconds: number): string | undefined {
  if (seconds >= earliestUnix && seconds <= latestUnix) return undefined;
  return `${field} is ${seconds} s, outside the years 0001 to 9999`;
}

function joinHalves(high: number, low: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low);
}

/** The normal form of a listing's path (`/`, `/a/b`), or why there is none. */
export function directoryPath(raw: Uint8Array, srcType: SourceType): { path: string } | { fault: string } {
  if (raw.length > pathBytesAtMost) return { fault: `the path has ${raw.length} bytes; the most is ${pathBytesAtMost}` };
  if (!isUtf8(raw)) return { fault: "the path is not UTF-8" };
  const text = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString();
  const path = srcType === "LucidLink" ? text : text.replaceAll("\\", "/");
  if (path[0] !== "/") return { fault: "the path does not start with /" };
  if (path === "/") return { path };
  const names = path.slice(1).split("/");
  if (names.length > levelsAtMost) return { fault: `the path has ${names.length} components; the most is ${levelsAtMost}` };
  for (const name of names) {
    if (name === "") return { fault: "the path has an empty component" };
    if (name === "." || name === "..") return { fault: "the path is outside the root, or not in its normal form" };
    if (name.includes("\0")) return { fault: "the path contains a NUL byte" };
    if (name.length > 255 && Buffer.byteLength(name) > nameBytesAtMost)
      return { fault: `a component of the path has more than ${nameBytesAtMost} bytes` };
  }
  return { path };
}

/** What follows the last dot, lower case; empty for `.profile`, `README` and `name.`. */
export function extensionOf(name: Uint8Array): Uint8Array {
  const at = name.lastIndexOf(dot);
  if (at <= 0 || at === name.length - 1 || name.length - at - 1 > extensionBytesAtMost) return noBytes;
  const extension = name.subarray(at + 1);
  let upper = false;
  for (const byte of extension) {
    if (byte >= 0x80) return Buffer.from(Buffer.from(extension).toString().toLowerCase());
    if (byte >= 0x41 && byte <= 0x5a) upper = true;
  }
  return upper ? extension.map((byte) => (byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte)) : extension;
}

/** Bytes as text for people: what is not UTF-8, and NUL, becomes \xNN; cut after `most` bytes. */
export function printable(bytes: Uint8Array, most: number = nameBytesAtMost): string {
  const cut = bytes.length > most ? bytes.subarray(0, most) : bytes;
  const text = isUtf8(cut) ? Buffer.from(cut).toString() : escapeBytes(cut);
  return text.replaceAll("\0", "\\x00") + (cut === bytes ? "" : "…");
}

function escapeBytes(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    let length = 1;
    // The longest valid character that starts here; one byte is valid only below 0x80.
    while (length <= 4 && at + length <= bytes.length && !isUtf8(bytes.subarray(at, at + length))) length += 1;
    if (length <= 4 && at + length <= bytes.length) {
      text += Buffer.from(bytes.subarray(at, at + length)).toString();
      at += length;
    } else {
      text += `\\x${(bytes[at] as number).toString(16).padStart(2, "0")}`;
      at += 1;
    }
  }
  return text;
}
