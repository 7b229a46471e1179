/** What stands in a tiered file's place: a line of JSON that says where the content is and how to tell that it is right. */
import { readWhole, type Stats } from "./files.js";

/** Owner and mode are the stub's own: whoever may write to it must not be able to say whose the restored file is. */
export interface Stub {
  tierId: bigint;
  objectUri: string;
  sizeBytes: bigint;
  /** Of the file, in ns since 1970. */
  mtimeNs: bigint;
  atimeNs: bigint;
  /** Of the content, in hex. */
  sha256: string;
}

/** A stub names one object by a URI, so it is never larger; a larger file is not even opened to find out. */
export const stubBytesAtMost = 16 * 1024;

export function stubOf(tierId: bigint, objectUri: string, stats: Stats, sha256: string): Stub {
  return {
    tierId,
    objectUri,
    sizeBytes: stats.size,
    mtimeNs: stats.mtimeNs,
    atimeNs: stats.atimeNs,
    sha256,
  };
}

export function formatStub(stub: Stub): Buffer {
  const text = JSON.stringify({ frostline_stub: 1, ...stub }, (_, value) => (typeof value === "bigint" ? String(value) : value));
  const bytes = Buffer.from(`${text}\n`);
  if (bytes.length > stubBytesAtMost) throw new Error(`the stub of object ${stub.tierId} would have ${bytes.length} bytes`);
  return bytes;
}

/** Undefined when the file at `path` is no stub. Opens it only if it is small enough to be one. */
export async function readStub(path: string, { size }: Pick<Stats, "size">): Promise<Stub | undefined> {
  if (size > BigInt(stubBytesAtMost)) return undefined;
  const text = (await readWhole(path)).toString();
  if (!text.startsWith('{"frostline_stub":1,')) return undefined;
  try {
    const { tierId, objectUri, sizeBytes, mtimeNs, atimeNs, sha256 } = JSON.parse(text);
    return {
      tierId: BigInt(tierId),
      objectUri: String(objectUri),
      sizeBytes: BigInt(sizeBytes),
      mtimeNs: BigInt(mtimeNs),
      atimeNs: BigInt(atimeNs),
      sha256: String(sha256),
    };
  } catch (error) {
    // It begins like one and is not: nobody's stub.
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
}
