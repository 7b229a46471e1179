/** What a run of audit events knows of the share's paths, and what it makes of them. */
import type { Touch } from "../../warming/touch.js";
import type { AccessEvent } from "./events.js";

/** A file as the fold knows it; changed in place. */
export interface AuditFile {
  /** Undefined for a file that an event of this run made known. */
  fileCurrentId: bigint | undefined;
  path: string;
  /** Where it was when it was loaded; undefined for a new one. */
  loadedPath: string | undefined;
  atimeUnix: bigint | undefined;
  /** Time of the last structural event applied to it. */
  structuralMicros: bigint | undefined;
  /** Its tier object, when it is STUBBED. */
  stubbedTierId: bigint | undefined;
  /** Where its row is: a ctid, as PostgreSQL writes it. Undefined where that is not known, or no longer. */
  tid: string | undefined;
  missing: boolean;
  touched: boolean;
  /** Written: size and mtime are no longer known. */
  stale: boolean;
  /** Made, moved or deleted in this run. */
  restructured: boolean;
}

/** What is known of a path: a live file, or when a file of that name was last deleted. */
export interface KnownPath {
  live: AuditFile | undefined;
  /** True when a missing row of that name exists. */
  wasThere: boolean;
  deletedMicros: bigint | undefined;
  /** Events up to this time are older than the listing of the path's directory; only of paths that an event may change. */
  listedMicros: bigint | undefined;
  /** The newest access that no file has been given; only of paths that an event may change. */
  waiting: AccessEvent | undefined;
  /** What is there as a directory; only of paths that an event may make, move or delete one at. */
  directory: KnownDirectory | undefined;
}

export interface KnownDirectory {
  isThere: boolean;
  /** Accesses wait below. */
  holdsWaiting: boolean;
}

export interface Known {
  /** Every path that the events to come name. */
  paths: Map<string, KnownPath>;
  /** Paths below which an event of this run left an access waiting, whatever became of it since. */
  holdingWaiting: Set<string>;
}

export interface Access {
  file: AuditFile;
  event: AccessEvent;
  oldAtimeUnix: bigint | undefined;
  newAtimeUnix: bigint;
}

/** The outcome of a run. */
export interface Folded {
  files: Set<AuditFile>;
  accesses: Access[];
  /** Every access to a file that is STUBBED, whether it moved its time or not. */
  touches: Touch[];
  /** Newest structural event by directory whose entries changed. */
  directories: Map<string, bigint>;
  /** Directories that are there now, as the events show, with all that hold them: what came into one, even if it went again, shows it. */
  shown: Set<string>;
  /** Accesses that wait, by path; and paths of which none waits any more, where nothing new does. */
  waiting: Map<string, AccessEvent>;
  settled: Set<string>;
}

export function newFolded(): Folded {
  return { files: new Set(), accesses: [], touches: [], directories: new Map(), shown: new Set(), waiting: new Map(), settled: new Set() };
}
