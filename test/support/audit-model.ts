/** What audit events do to a share, told once more and as plainly as can be. Times in microseconds, access times in seconds. */
import { type AuditAction, type Counter, type Counts, newCounts } from "../../src/ingest/audit/fold.js";

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
  readonly counts: Counts = newCounts();
  #nextNo: number;

  /** Files are numbered from `firstNo` on. */
  constructor(firstNo = 1) {
    this.#nextNo = firstNo;
  }

  addFile(path: string, atime: number, structural?: number): void {
    this.files.set(path, { fileNo: this.#nextNo++, atime, structural });
    this.#addDirs(dirOf(path));
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

  #outcome({ action, path, targetPath, timeMicros }: ModelEvent): Counter {
    const time = Number(timeMicros);
    const file = this.files.get(path);
    switch (action) {
      case "READ":
        return file ? access(file, time) : "waiting";
      case "PREFETCH":
        return "excluded";
      case "WRITE":
        return file ? access(file, time) : this.#insert(path, time);
      case "CREATE_FILE":
        return file ? "stale" : this.#insert(path, time);
      case "DELETE_FILE":
        if (!file) return this.deleted.has(path) ? "stale" : "waiting";
        if ((file.structural ?? -Infinity) > time) return "stale";
        this.#remove(path, time);
        return "deleted";
      case "CREATE_DIRECTORY":
        if (this.dirs.has(path)) return "stale";
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

  #insert(path: string, time: number): Counter {
    if ((this.deleted.get(path) ?? -Infinity) >= time) return "stale";
    this.addFile(path, Math.floor(time / 1e6), time);
    return "inserted";
  }

  #remove(path: string, time: number): void {
    this.files.delete(path);
    this.deleted.set(path, Math.max(this.deleted.get(path) ?? -Infinity, time));
  }

  #moveFile(path: string, targetPath: string, file: ModelFile, time: number): Counter {
    const there = this.files.get(targetPath);
    if (path === targetPath || (file.structural ?? -Infinity) > time || (there?.structural ?? -Infinity) > time) return "stale";
    if (there) this.#remove(targetPath, time);
    this.files.delete(path);
    file.structural = time;
    this.files.set(targetPath, file);
    this.#addDirs(dirOf(targetPath));
    return "moved";
  }

  #moveDirectory(path: string, targetPath: string, time: number): Counter {
    if (isWithin(targetPath, path) || isWithin(path, targetPath)) return "stale";
    if (!this.dirs.has(path)) return "waiting";
    const dirs = [...this.dirs].filter((dir) => isWithin(dir, path));
    for (const dir of dirs) this.dirs.delete(dir);
    for (const dir of dirs) this.#addDirs(targetPath + dir.slice(path.length));
    for (const [from, file] of [...this.files]) {
      if (!isWithin(from, path)) continue;
      const to = targetPath + from.slice(path.length);
      if (this.files.has(to)) this.#remove(to, time);
      this.files.delete(from);
      file.structural = Math.max(file.structural ?? -Infinity, time);
      this.files.set(to, file);
    }
    return "moved";
  }

  #deleteDirectory(path: string, time: number): Counter {
    if (!this.dirs.has(path)) return "waiting";
    for (const [at, file] of [...this.files]) if (isWithin(at, path) && (file.structural ?? -Infinity) <= time) this.#remove(at, time);
    for (const dir of [...this.dirs]) if (isWithin(dir, path)) this.dirs.delete(dir);
    for (const at of this.files.keys()) this.#addDirs(dirOf(at));
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
