/** A small disk, so that it can be filled: a tmpfs of its own. Root alone can mount one, on Linux. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { scratchDirectory } from "../support/scratch.js";

/** PostgreSQL with what a round stores takes half of it. */
const sizeMb = 768;
const pieceBytes = 4 * 1024 * 1024;

export interface Disk {
  path: string;
  /** Undefined where it cannot be filled without filling the machine's. */
  fill: ((leftBytes: number) => Promise<void>) | undefined;
  /** As before `fill`. */
  free(): Promise<void>;
  remove(): Promise<void>;
}

/** Says loudly when nothing can be mounted: then it is a directory of the machine's disk, and is never filled. */
export async function openDisk(): Promise<Disk> {
  const scratch = await scratchDirectory();
  await fs.chmod(scratch.path, 0o711);
  if (!mount(scratch.path)) {
    console.warn("\n!!! SKIPPED: PostgreSQL's disk is not filled. Only root can mount a small one, on Linux.\n");
    return { path: scratch.path, fill: undefined, free: async () => {}, remove: scratch.remove };
  }
  const ballast = path.join(scratch.path, "ballast");
  return {
    path: scratch.path,
    fill: (leftBytes) => fill(ballast, leftBytes),
    free: () => fs.rm(ballast, { force: true }),
    async remove() {
      // Whoever still has a file open there keeps the memory, not the place.
      spawnSync("umount", ["--lazy", scratch.path]);
      await scratch.remove();
    },
  };
}

function mount(at: string): boolean {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  return spawnSync("mount", ["-t", "tmpfs", "-o", `size=${sizeMb}m,mode=711`, "frostline-faults", at]).status === 0;
}

/** Until nothing goes on it, and then lets go of so many bytes. */
async function fill(ballast: string, leftBytes: number): Promise<void> {
  const file = await fs.open(ballast, "w");
  try {
    const piece = Buffer.alloc(pieceBytes, 1);
    for (let size = pieceBytes; size >= 4096; ) {
      try {
        await file.write(piece, 0, size);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        size /= 2;
      }
    }
    const { size } = await file.stat();
    await file.truncate(Math.max(0, size - leftBytes));
  } finally {
    await file.close();
  }
}
