/** Page tokens: opaque to callers, the position after the last row of a page to us. */
import { DomainError } from "./errors.js";

/** `position` is the sort key of the page's last row, as text. */
export function encodePageToken(position: readonly string[]): string {
  return Buffer.from(JSON.stringify(position), "utf8").toString("base64url");
}

/** What was encoded; undefined for the empty token, the first page. Throws INVALID_ARGUMENT (BAD_PAGE_TOKEN) unless it has `length` parts. */
export function decodePageToken(token: string, length: number): string[] | undefined {
  if (token === "") return undefined;
  const position = parse(Buffer.from(token, "base64url").toString("utf8"));
  if (!Array.isArray(position) || position.length !== length || !position.every((part) => typeof part === "string")) throw badPageToken();
  return position;
}

/** A part of a position that is an id. Throws as decodePageToken does. */
export function positionId(part: string): bigint {
  if (!/^-?\d{1,18}$/.test(part)) throw badPageToken();
  return BigInt(part);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw badPageToken();
    throw error;
  }
}

function badPageToken(): DomainError {
  return new DomainError("INVALID_ARGUMENT", "page_token is not one that this call returned. Start again without it.", {
    reason: "BAD_PAGE_TOKEN",
  });
}

/** Rows of a page: `fallback` when 0, at most `most`. Throws INVALID_ARGUMENT when negative. */
export function pageSize(wanted: number, fallback: number, most: number): number {
  if (wanted < 0) {
    throw new DomainError("INVALID_ARGUMENT", `page_size is ${wanted}. Leave it out, or make it 1 to ${most}.`, {
      reason: "INVALID_FIELD",
      metadata: { field: "page_size" },
    });
  }
  return wanted === 0 ? fallback : Math.min(wanted, most);
}
