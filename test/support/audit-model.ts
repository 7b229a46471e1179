/** What audit events do to a share, told once more and as plainly as can be. Times in microseconds, access times in seconds. */
import { type Counter, type Counts, newCounts } from "../../src/ingest/audit/counts.js";
import type { AuditAction } from "../../src/ingest/audit/events.js";
import { clockMarginSeconds } from "../../src/ingest/reconcile.js";

export interface ModelEvent {
  action: AuditAction;
  path: string;
  targetPath: string;
  timeMicros: bigint;
}

export interface ModelFile {
  fileNo: number;
  atime: number;
  structural: number | undefined;
}

export class Model {
  readonly files = new Map<string, ModelFile>();
  readonly dirs = new Set<string>(["/"]);
  /** When a row of that path was last marked missing. */
  readonly deleted = new Map<string, number>();
  /** The newest access of a path that had no file then. */
  readonly waiting = new Map<string, number>();
  /** When a directory that is there was listed, in microseconds, the margin for clocks taken off; for others the root's holds. */
  readonly listed = new Map<string, number>();
  readonly counts: Counts = newCounts();
  /** Waiting accesses that a file was given, and that moved its access time. */
  given = 0;
  #nextNo: number;

  /** Files are numbered from `firstNo` on. */
  constructor(firstNo = 1) {
    this.#nextNo = firstNo;
  }

  addFile(path: string, atime: number, structural?: number): void {
    this.files.set(path, { fileNo: this.#nextNo++, atime, structural });
    this.#addDirs(dirOf(path));
  }

  /** A scan lists all there is; what waits is given to the files that are there. */
  scan(atSeconds: number): void {
    for (const dir of this.dirs) this.listed.set(dir, (atSeconds - clockMarginSeconds) * 1e6);
    for (const path of this.files.keys()) this.#settle(path);
  }

  apply(event: ModelEvent): Counter {
    const counter = this.#outcome(event);
    this.counts[counter] += 1;
    return counter;
  }

  #addDirs(path: string): void {
    for (let at = path; ; at = dirOf(at)) {
      this.dirs.add(at);
      if (at === "/") return;
    }
  }

  #listedOf(dir: string): number {
    return this.listed.get(dir) ?? this.listed.get("/") ?? -Infinity;
  }

  /** The path's directory was listed after that. */
  #isListed(path: string, time: number): boolean {
    return this.#listedOf(dirOf(path)) >= time;
  }

  #outcome({ action, path, targetPath, timeMicros }: ModelEvent): Counter {
    const time = Number(timeMicros);
    if (["WRITE", "CREATE_FILE", "DELETE_FILE", "MOVE"].includes(action)) this.#settle(path);
    const file = this.files.get(path);
    switch (action) {
      case "READ":
        return file ? access(file, time) : this.#wait(path, time);
      case "PREFETCH":
        return "excluded";
      case "WRITE":
        if (file) return access(file, time);
        return this.#isListed(path, time) ? this.#wait(path, time) : this.#insert(path, time);
      case "CREATE_FILE":
        return file || this.#isListed(path, time) ? "stale" : this.#insert(path, time);
      case "DELETE_FILE":
        if (file && ((file.structural ?? -Infinity) > time || this.#isListed(path, time))) return "stale";
        if ((this.waiting.get(path) ?? Infinity) <= time) this.waiting.delete(path);
        if (!file) return this.deleted.has(path) ? "stale" : "waiting";
        this.#remove(path, time);
        return "deleted";
      case "CREATE_DIRECTORY":
        if (this.dirs.has(path) || this.#isListed(path, time)) return "stale";
        this.#addDirs(path);
        return "inserted";
      case "DELETE_DIRECTORY":
        return this.#deleteDirectory(path, time);
      case "MOVE":
        return file ? this.#moveFile(path, targetPath, file, time) : this.#moveDirectory(path, targetPath, time);
      default:
        return "ignored";
    }
  }

  #wait(path: string, time: number): Counter {
    if ((this.deleted.get(path) ?? -Infinity) < time) this.waiting.set(path, Math.max(this.waiting.get(path) ?? -Infinity, time));
    return "waiting";
  }

  #settle(path: string): void {
    const [file, time] = [this.files.get(path), this.waiting.get(path)];
    if (!file || time === undefined) return;
    this.waiting.delete(path);
    if ((file.structural ?? -Infinity) <= time) this.#give(file, time);
  }

  #give(file: ModelFile, time: number): void {
    if (access(file, time) === "applied") this.given += 1;
  }

  #bring(path: string, time: number): void {
    const file = this.files.get(path);
    if (file) this.#give(file, time);
    else this.#wait(path, time);
  }

  #dropDir(dir: string): void {
    this.dirs.delete(dir);
    this.listed.delete(dir);
  }

  #insert(path: string, time: number): Counter {
    if ((this.deleted.get(path) ?? -Infinity) >= time) return "stale";
    this.addFile(path, Math.floor(time / 1e6), time);
    this.#settle(path);
    return "inserted";
  }

  #remove(path: string, time: number): void {
    this.files.delete(path);
    this.deleted.set(path, Math.max(this.deleted.get(path) ?? -Infinity, time));
  }

  #moveFile(path: string, targetPath: string, file: ModelFile, time: number): Counter {
    if (path === targetPath || (file.structural ?? -Infinity) > time) return "stale";
    this.#settle(targetPath);
    if (this.#isListed(path, time)) {
      this.#bring(targetPath, Math.min(file.atime * 1e6, time));
      return "stale";
    }
    const there = this.files.get(targetPath);
    if ((there?.structural ?? -Infinity) > time) return "stale";
    if (there) this.#remove(targetPath, time);
    this.files.delete(path);
    file.structural = time;
    this.files.set(targetPath, file);
    this.#addDirs(dirOf(targetPath));
    this.#settle(targetPath);
    return "moved";
  }

  /** What waits at the old path and below, by its new path; it goes along. */
  #take(path: string, targetPath: string, time: number): Map<string, number> {
    const taken = [...this.waiting].filter(([at, waits]) => isWithin(at, path) && waits <= time);
    for (const [at] of taken) this.waiting.delete(at);
    return new Map(taken.map(([at, waits]) => [targetPath + at.slice(path.length), waits]));
  }

  #moveDirectory(path: string, targetPath: string, time: number): Counter {
    if (isWithin(targetPath, path) || isWithin(path, targetPath)) return "stale";
    const isThere = this.dirs.has(path);
    if (!isThere || this.#listedOf(path) >= time) {
      const carried = this.#take(path, targetPath, time);
      for (const [at, file] of isThere ? this.files : []) {
        const to = targetPath + at.slice(path.length);
        if (isWithin(at, path)) carried.set(to, Math.max(carried.get(to) ?? -Infinity, Math.min(file.atime * 1e6, time)));
      }
      for (const [to, waits] of carried) this.#bring(to, waits);
      return isThere || this.#isListed(path, time) ? "stale" : "waiting";
    }
    const dirs = [...this.dirs].filter((dir) => isWithin(dir, path));
    for (const dir of dirs) this.#dropDir(dir);
    for (const dir of dirs) this.#addDirs(targetPath + dir.slice(path.length));
    for (const [from, file] of [...this.files]) {
      if (!isWithin(from, path)) continue;
      const to = targetPath + from.slice(path.length);
      if (this.files.has(to)) this.#remove(to, time);
      this.files.delete(from);
      file.structural = Math.max(file.structural ?? -Infinity, time);
      this.files.set(to, file);
    }
    for (const [to, waits] of this.#take(path, targetPath, time)) this.#bring(to, waits);
    return "moved";
  }

  #deleteDirectory(path: string, time: number): Counter {
    const isThere = this.dirs.has(path);
    if (isThere && this.#listedOf(path) >= time) return "stale";
    for (const [at, waits] of [...this.waiting]) if (isWithin(at, path) && waits <= time) this.waiting.delete(at);
    if (!isThere) return "waiting";
    for (const [at, file] of [...this.files]) if (isWithin(at, path) && (file.structural ?? -Infinity) <= time) this.#remove(at, time);
    const holds = (dir: string) => [...this.files.keys()].some((at) => isWithin(at, dir));
    for (const dir of [...this.dirs]) if (isWithin(dir, path) && !holds(dir)) this.#dropDir(dir);
    return "deleted";
  }
}

function access(file: ModelFile, time: number): Counter {
  const seconds = Math.floor(time / 1e6);
  if (seconds <= file.atime) return "stale";
  file.atime = seconds;
  return "applied";
}

/** The path itself counts. */
export function isWithin(path: string, root: string): boolean {
  return path === root || path.startsWith(`${root}/`);
}

export function dirOf(path: string): string {
  const at = path.lastIndexOf("/");
  return at <= 0 ? "/" : path.slice(0, at);
}
