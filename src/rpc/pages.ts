/** Pages of a list: a size within bounds, and a token that says where the next page begins. */
import { DomainError } from "../errors.js";
import { invalidField } from "../tenancy/validate.js";

/** Clients take 4 MiB a message; a page ends early rather than come near it. */
const messageSizeBytesAtMost = 2 * 1024 * 1024;
/** An item's fields other than its path, and tags, generously. */
const fixedSizeBytes = 160;

/** `asked` of a request: 0 means `fallback`. Throws INVALID_ARGUMENT below 0 or above `most`. */
export function pageSize(asked: number, fallback: number, most: number): number {
  if (asked < 0 || asked > most) throw invalidField("page_size", `is ${asked}; it must be 0 to ${most}.`);
  return asked === 0 ? fallback : asked;
}

/** Opaque to clients: the position after which the next page begins. */
export function encodePageToken(position: (string | number | bigint)[]): string {
  return Buffer.from(JSON.stringify(position.map(String))).toString("base64url");
}

/** The position of a token, as `parts` texts; undefined for the empty token, which is the first page. Throws INVALID_ARGUMENT. */
export function decodePageToken(token: string, parts: number): string[] | undefined {
  if (token === "") return undefined;
  try {
    const position: unknown = JSON.parse(Buffer.from(token, "base64url").toString());
    if (Array.isArray(position) && position.length === parts && position.every((part) => typeof part === "string")) return position;
  } catch {
    // Not JSON: the same answer as for JSON of another form.
  }
  throw badPageToken();
}

/** A number out of a token. Throws INVALID_ARGUMENT unless it fits so many bits, as the column does that it is compared with. */
export function pageTokenNumber(part: string | undefined, bits: 32 | 64 = 64): bigint {
  if (part === undefined || !/^-?\d{1,19}$/.test(part) || BigInt.asIntN(bits, BigInt(part)) !== BigInt(part)) throw badPageToken();
  return BigInt(part);
}

function badPageToken(): DomainError {
  return new DomainError("INVALID_ARGUMENT", "page_token is not one that this list returned. Start again without one.", {
    reason: "BAD_PAGE_TOKEN",
  });
}

export interface Sized {
  dir_path: string;
  name: string;
}

/** How many of the rows, and at least one, a message holds. Sizes are of UTF-16 text, of which 3 bytes a unit are the most UTF-8 takes. */
export function countThatFit(rows: readonly Sized[], most: number): number {
  let sizeBytes = 0;
  for (const [count, { dir_path, name }] of rows.entries()) {
    sizeBytes += fixedSizeBytes + 3 * (dir_path.length + name.length);
    if (count === most || (count > 0 && sizeBytes > messageSizeBytesAtMost)) return count;
  }
  return rows.length;
}
