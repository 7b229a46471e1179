/** A directory tree as the source of a scan. */
import { toChunks } from "../agent/chunker.js";
import { newWalkStats, type WalkOptions, type WalkStats, walk } from "../agent/walk.js";
import type { Chunk } from "../gen/frostline/v1/scan_pb.js";
import { count } from "./format.js";

export interface WalkSource {
  /** Chunks of the tree after the directory that a resume token names; of all of it without one. */
  source(resumeAfter: Uint8Array | undefined): AsyncIterable<Chunk>;
  /** What the newest walk has met so far. */
  stats(): WalkStats;
}

export function walkSource(root: string, options: Omit<WalkOptions, "resumeAfter" | "stats">): WalkSource {
  let stats = newWalkStats();
  return {
    source(resumeAfter) {
      stats = newWalkStats();
      return toChunks(walk(root, { ...options, resumeAfter, stats }), { resumeAfter });
    },
    stats: () => stats,
  };
}

/** What a walk passed by, for people; undefined when nothing. */
export function passedBy(stats: WalkStats): string | undefined {
  const kinds: [number, string][] = [
    [stats.symlinks, "symbolic links"],
    [stats.specials, "sockets, pipes and devices"],
    [stats.excluded, "excluded entries"],
    [stats.otherFileSystems, "directories of other file systems"],
    [stats.stubsNotHashed, "stubs not read for their hash"],
    [stats.hashErrors, "files that could not be read for their hash"],
  ];
  const met = kinds.filter(([n]) => n > 0);
  return met.length === 0 ? undefined : `Not recorded or left unread: ${met.map(([n, words]) => `${count(n)} ${words}`).join(", ")}.`;
}
