/** SHA-256 of a file's content, without changing what the scan is about: the file's access time. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import * as fs from "node:fs/promises";

const readBytes = 256 * 1024;
/** Node names it on Linux only; elsewhere 0 changes nothing. */
const noAtime: number = constants.O_NOATIME ?? 0;
const baseFlags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

export interface FileIdentity {
  size: bigint;
  mtimeNs: bigint;
  blocks: bigint;
}

/** Whether a file's content is elsewhere: reading it would bring it back from the tier or the cloud. */
export function isStub(file: FileIdentity): boolean {
  return file.size > 0n && file.blocks === 0n;
}

/**
 * The hash of a file as `expected` describes it; undefined when it has another size or mtime by now.
 * Only the file's owner and root may read without touching the access time; for others the system's rules hold.
 * Rejects with the system's error, or the signal's reason.
 */
export async function hashFile(path: string | Buffer, expected: FileIdentity, signal: AbortSignal): Promise<Uint8Array | undefined> {
  const handle = await fs.open(path, baseFlags | noAtime).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "EPERM" && noAtime !== 0) return fs.open(path, baseFlags);
    throw error;
  });
  try {
    const hash = createHash("sha256");
    const buffer = Buffer.allocUnsafe(Number(expected.size < readBytes ? expected.size + 1n : readBytes));
    let sizeBytes = 0n;
    for (;;) {
      signal.throwIfAborted();
      const { bytesRead } = await handle.read(buffer, 0, buffer.length);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      sizeBytes += BigInt(bytesRead);
    }
    const { size, mtimeNs } = await handle.stat({ bigint: true });
    const same = size === expected.size && mtimeNs === expected.mtimeNs && sizeBytes === size;
    return same ? hash.digest() : undefined;
  } finally {
    await handle.close();
  }
}
