/**
 * What a run of audit events does to the files it names: in order, in memory, without the database.
 * Pure, so that it can be held against a model.
 *
 * | event | its path is a file | it is missing | it is not known |
 * |---|---|---|---|
 * | READ (and PREFETCH where it counts) | access | waits | waits |
 * | WRITE | access; size and mtime are stale | a new file, unless the deletion is newer | a new file |
 * | CREATE_FILE | stale: it is known | a new file, unless the deletion is newer | a new file |
 * | MOVE | takes the target's path; a file there is gone | waits | a directory's move, or waits |
 * | DELETE_FILE | missing | stale | waits |
 *
 * Structure (create, move, delete) goes by the newest event's time: each file keeps the time of the
 * last one applied to it, since order holds only within a node. That a directory is made is folded too;
 * moving and deleting one is not, since it reaches below what is known.
 *
 * An event that is older than the listing of its directory makes, moves and deletes nothing: the
 * listing shows what came of it. But the file whose name it was may have another one by now: accesses
 * of a path where no file is known are kept, and go along with the moves that come later.
 */

import { addWithAncestors, isWithin, splitPath } from "../../paths.js";
import { touchOf } from "../../warming/touch.js";
import type { Counter, Counts } from "./counts.js";
import type { AccessEvent, AuditEvent } from "./events.js";
import { type AuditFile, type Known, type KnownPath, newFolded } from "./folded.js";

export interface FoldOptions {
  prefetchCounts: boolean;
}

export class Fold {
  readonly result = newFolded();
  readonly #known: Known;
  readonly #counts: Counts;
  readonly #options: FoldOptions;

  constructor(known: Known, counts: Counts, options: FoldOptions) {
    this.#known = known;
    this.#counts = counts;
    this.#options = options;
  }

  /** Applies an event and counts it. False, and nothing done, when a directory, or what waits below a path, has to be moved or deleted. */
  apply(event: AuditEvent): boolean {
    switch (event.action) {
      case "READ":
        this.#count(this.#read(event));
        return true;
      case "PREFETCH":
        this.#count(this.#options.prefetchCounts ? this.#read(event) : "excluded");
        return true;
      case "WRITE":
        this.#count(this.#write(event));
        return true;
      case "CREATE_FILE":
        this.#count(this.#create(event));
        return true;
      case "DELETE_FILE":
        this.#count(this.#delete(event));
        return true;
      case "CREATE_DIRECTORY":
        this.#count(this.#createDirectory(event));
        return true;
      case "MOVE":
        return this.#move(event);
      case "DELETE_DIRECTORY":
        if (!this.#isNothing(event.path)) return false;
        this.#count("waiting");
        return true;
      default:
        throw new Error(`${event.action} is not folded`);
    }
  }

  /** An access that is the path's by right of a move: of the file there now, or of the one to come. */
  bring(path: string, access: AccessEvent): void {
    const known = this.#at(path);
    if (known.live) this.#access(known.live, access);
    else this.#wait(known, path, access);
  }

  #count(counter: Counter): void {
    this.#counts[counter] += 1;
  }

  #at(path: string): KnownPath {
    const known = this.#known.paths.get(path);
    if (!known) throw new Error(`the path ${JSON.stringify(path)} was not loaded`);
    return known;
  }

  #read(event: AuditEvent): Counter {
    const known = this.#at(event.path);
    return known.live ? this.#access(known.live, event) : this.#wait(known, event.path, event);
  }

  #access(file: AuditFile, event: AccessEvent): Counter {
    const seconds = event.timeMicros / 1_000_000n;
    const oldAtimeUnix = file.atimeUnix;
    if (file.stubbedTierId !== undefined) this.result.touches.push(touchOf(file.stubbedTierId, event));
    if (oldAtimeUnix !== undefined && seconds <= oldAtimeUnix) return "stale";
    file.atimeUnix = seconds;
    file.touched = true;
    this.result.files.add(file);
    this.result.accesses.push({ file, event, oldAtimeUnix, newAtimeUnix: seconds });
    return "applied";
  }

  /** For whatever file turns out to have had the path then. */
  #wait(known: KnownPath, path: string, event: AccessEvent): Counter {
    const ended = known.deletedMicros !== undefined && known.deletedMicros >= event.timeMicros;
    if (ended || (known.waiting && known.waiting.timeMicros >= event.timeMicros)) return "waiting";
    known.waiting = event;
    this.result.waiting.set(path, event);
    addWithAncestors(this.#known.holdingWaiting, directoryOf(path));
    return "waiting";
  }

  /** The path has a file now: what waits is its own, unless it is older than the file's being there. */
  #settle(known: KnownPath, path: string): void {
    const { live, waiting } = known;
    if (!live || !waiting) return;
    this.#drop(known, path);
    if (live.structuralMicros === undefined || live.structuralMicros <= waiting.timeMicros) this.#access(live, waiting);
  }

  #drop(known: KnownPath, path: string): void {
    known.waiting = undefined;
    this.result.waiting.delete(path);
    this.result.settled.add(path);
  }

  #write(event: AuditEvent): Counter {
    const known = this.#at(event.path);
    this.#settle(known, event.path);
    const { live } = known;
    if (!live) return isListed(known, event) ? this.#wait(known, event.path, event) : this.#insert(event);
    if (!isListed(known, event)) {
      live.stale = true;
      this.result.files.add(live);
    }
    return this.#access(live, event);
  }

  #create(event: AuditEvent): Counter {
    const known = this.#at(event.path);
    this.#settle(known, event.path);
    return known.live || isListed(known, event) ? "stale" : this.#insert(event);
  }

  /** A file that only this event tells of, unless the path was deleted later than that. */
  #insert(event: AuditEvent): Counter {
    const known = this.#at(event.path);
    if (known.deletedMicros !== undefined && known.deletedMicros >= event.timeMicros) return "stale";
    known.live = {
      fileCurrentId: undefined,
      path: event.path,
      loadedPath: undefined,
      atimeUnix: event.timeMicros / 1_000_000n,
      structuralMicros: event.timeMicros,
      stubbedTierId: undefined,
      tid: undefined,
      missing: false,
      touched: true,
      stale: false,
      restructured: true,
    };
    this.#restructure(known.live, event, event.path);
    this.#settle(known, event.path);
    return "inserted";
  }

  #delete(event: AuditEvent): Counter {
    const known = this.#at(event.path);
    this.#settle(known, event.path);
    const { live } = known;
    if (live && (isNewer(live.structuralMicros, event) || isListed(known, event))) return "stale";
    if (known.waiting && known.waiting.timeMicros <= event.timeMicros) this.#drop(known, event.path);
    if (!live) return known.wasThere ? "stale" : "waiting";
    this.#remove(known, live, event);
    return "deleted";
  }

  #remove(known: KnownPath, file: AuditFile, event: AuditEvent): void {
    known.live = undefined;
    known.wasThere = true;
    if (known.deletedMicros === undefined || known.deletedMicros < event.timeMicros) known.deletedMicros = event.timeMicros;
    file.missing = true;
    file.structuralMicros = event.timeMicros;
    this.#restructure(file, event, file.path);
  }

  #createDirectory(event: AuditEvent): Counter {
    const known = this.#at(event.path);
    if (known.directory?.isThere || this.result.shown.has(event.path) || isListed(known, event)) return "stale";
    addWithAncestors(this.result.shown, event.path);
    return "inserted";
  }

  /** No directory is known at `path`, and nothing waits there or below. */
  #isNothing(path: string): boolean {
    const { directory, waiting } = this.#at(path);
    // Not looked up: who asks has to.
    if (directory === undefined || directory.isThere || this.result.shown.has(path)) return false;
    return waiting === undefined && !directory.holdsWaiting && !this.#known.holdingWaiting.has(path);
  }

  #move(event: AuditEvent): boolean {
    const from = this.#at(event.path);
    const file = from.live;
    if (file) {
      this.#settle(from, event.path);
      this.#count(this.#moveFile(file, from, event));
    } else if (isWithin(event.path, event.targetPath) || isWithin(event.targetPath, event.path)) {
      // Into itself, or onto one that holds it: no file system does that, so these paths are of another time.
      this.#count("stale");
    } else if (this.#isNothing(event.path)) {
      this.#count(isListed(from, event) ? "stale" : "waiting");
    } else return false;
    return true;
  }

  #moveFile(file: AuditFile, from: KnownPath, event: AuditEvent): Counter {
    if (event.path === event.targetPath || isNewer(file.structuralMicros, event)) return "stale";
    const to = this.#at(event.targetPath);
    this.#settle(to, event.targetPath);
    if (isListed(from, event)) {
      this.#passOn(file, event);
      return "stale";
    }
    if (to.live && isNewer(to.live.structuralMicros, event)) return "stale";
    if (to.live) this.#remove(to, to.live, event);
    // Its row goes along: nothing stays behind that would tell of it, in this run or in the next.
    from.live = undefined;
    this.#restructure(file, event, event.path);
    file.path = event.targetPath;
    file.structuralMicros = event.timeMicros;
    to.live = file;
    this.#restructure(file, event, event.targetPath);
    this.#settle(to, event.targetPath);
    return "moved";
  }

  /**
   * `file` has come to the path since: the one that was moved has had the target's name for a while. Accesses
   * from before the move were taken for this one's. How many is not known any more, so the other gets the newest that may be.
   */
  #passOn(file: AuditFile, event: AuditEvent): void {
    if (file.atimeUnix === undefined) return;
    const newest = file.atimeUnix * 1_000_000n;
    const access = { ...event, timeMicros: newest < event.timeMicros ? newest : event.timeMicros };
    this.bring(event.targetPath, access);
  }

  #restructure(file: AuditFile, event: AuditEvent, path: string): void {
    file.restructured = true;
    this.result.files.add(file);
    const dirPath = directoryOf(path);
    addWithAncestors(this.result.shown, dirPath);
    const last = this.result.directories.get(dirPath);
    if (last === undefined || last < event.timeMicros) this.result.directories.set(dirPath, event.timeMicros);
  }
}

/** Of two structural events the newer counts; of the same moment, the one that comes later. */
function isNewer(structuralMicros: bigint | undefined, event: AuditEvent): boolean {
  return structuralMicros !== undefined && structuralMicros > event.timeMicros;
}

/** The path's directory was listed after the event: what the event did is known, and what came of it later. */
function isListed({ listedMicros }: KnownPath, event: AuditEvent): boolean {
  return listedMicros !== undefined && listedMicros >= event.timeMicros;
}

/** The directory that a file's path is in. */
export function directoryOf(path: string): string {
  return splitPath(path)?.dirPath ?? "/";
}
