/** What a source (a walk, a CSV) finds: directories with their files. */

/** A file. Times are whole seconds since 1970-01-01 UTC, rounded towards the past. */
export interface FileEntry {
  /** Raw bytes of the name. */
  name: Uint8Array;
  sizeBytes: bigint;
  atimeUnix: bigint;
  mtimeUnix: bigint;
  ctimeUnix: bigint;
  /** File reference number, or inode; undefined when the source has none. */
  frn: bigint | undefined;
  allocatedBytes: bigint | undefined;
  /** Hard links; 0 when unknown. */
  linkCount: number;
  /** uid or SID; empty when unknown. */
  owner: string;
  /** SHA-256 of the content; empty when not hashed. */
  fileHash: Uint8Array;
}

/** An entry that could not be recorded. */
export interface LeftOutEntry {
  name: Uint8Array;
  reason: string;
}

/** A directory, or the next part of one: a large directory comes in several, directly after each other. */
export interface Listing {
  /** Raw bytes of the path from the share's root: `/`, `/a`, `/a/b`. */
  path: Uint8Array;
  /** When the directory's listing began, in ms since 1970-01-01 UTC. */
  listTimeMs: number;
  files: FileEntry[];
  leftOut: LeftOutEntry[];
  /** Another part of the same directory follows. The two fields below are then not final. */
  more: boolean;
  /** The listing has every file of the directory. */
  complete: boolean;
  /** Why the directory could not be read (to its end); empty when it could. */
  unreadableReason: string;
}

/** No bytes; shared, so that a million records don't each have their own. */
export const noBytes: Uint8Array = new Uint8Array();
