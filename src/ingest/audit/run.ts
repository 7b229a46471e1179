/**
 * A run of audit events, applied in their order: folded in memory, and written before one that moves or
 * deletes a directory, which statements of its own apply.
 */
import type { ClientBase } from "pg";
import { withAncestors } from "../../paths.js";
import type { Touch } from "../../warming/touch.js";
import type { ShareRef } from "../directories.js";
import type { Counts } from "./counts.js";
import { type DirectoryContext, deleteDirectory, type MakeDirectories, moveDirectory } from "./directories.js";
import type { DirectoryCache } from "./directory-cache.js";
import type { AccessEvent, AuditEvent } from "./events.js";
import { Fold } from "./fold.js";
import type { Known } from "./folded.js";
import { readListedMicros } from "./listed.js";
import { loadPaths } from "./load.js";
import { missingScan } from "./missing-scan.js";
import { reviveDirectories, storeFolded } from "./store.js";
import { doSomeWait } from "./waiting.js";

export interface RunTarget {
  share: ShareRef;
  prefetchIsAccess: boolean;
  make: MakeDirectories;
  directories: DirectoryCache;
}

/** Returns the accesses to tiered files. Throws FAILED_PRECONDITION for a share that was never scanned. */
export async function applyEvents(client: ClientBase, target: RunTarget, events: AuditEvent[], counts: Counts): Promise<Touch[]> {
  const start = await readStart(client, target.share);
  if (events.length === 0) return [];
  const run = new Run(client, target, events, counts, start);
  for (const [at, event] of events.entries()) {
    await run.load(at);
    if (run.fold.apply(event)) continue;
    await run.store();
    await run.applyToDirectory(event);
  }
  await run.store();
  return run.touches;
}

/** Events whose paths are looked up after one of a directory: another one may follow soon, and makes them unknown again. */
const loadedAfterDirectory = 64;

/** What a run has to know of the share before its first event. */
interface RunStart {
  /** The scan that what an event deletes is said to be missing since. */
  missingScanId: bigint;
  rootListedMicros: bigint | undefined;
  someWait: boolean;
}

async function readStart(client: ClientBase, share: ShareRef): Promise<RunStart> {
  const [missingScanId, rootListedMicros, someWait] = await Promise.all([
    missingScan(client, share),
    readListedMicros(client, share, "/"),
    doSomeWait(client, share),
  ]);
  return { missingScanId, rootListedMicros, someWait };
}

class Run {
  fold: Fold;
  readonly touches: Touch[] = [];
  readonly #client: ClientBase;
  readonly #target: RunTarget;
  readonly #events: AuditEvent[];
  readonly #counts: Counts;
  readonly #start: RunStart;
  readonly #known: Known = { paths: new Map(), holdingWaiting: new Set() };
  /** Paths that any of the events may make, change, move or delete. */
  readonly #changing = new Set<string>();
  /** Paths that may be directories, for all that the events say. */
  readonly #ofDirectories = new Set<string>();
  /** The event up to which all paths are known, and how many are looked up at the next time. */
  #loadedTo = 0;
  #loadAhead: number;

  constructor(client: ClientBase, target: RunTarget, events: AuditEvent[], counts: Counts, start: RunStart) {
    this.#client = client;
    this.#target = target;
    this.#events = events;
    this.#counts = counts;
    this.#start = start;
    this.#loadAhead = events.length;
    for (const { action, path, targetPath } of events) {
      if (action === "READ" || action === "PREFETCH") continue;
      this.#changing.add(path);
      this.#changing.add(targetPath);
      if (action === "MOVE" || action === "CREATE_DIRECTORY" || action === "DELETE_DIRECTORY") this.#ofDirectories.add(path);
    }
    this.fold = this.#newFold();
  }

  /** Loads the paths of the event `at` that are not known yet, with those of events to come. */
  async load(at: number): Promise<void> {
    if (at < this.#loadedTo) return;
    const paths = new Set<string>();
    for (const { path, targetPath } of this.#events.slice(at, at + this.#loadAhead)) {
      if (!this.#known.paths.has(path)) paths.add(path);
      if (targetPath !== "" && !this.#known.paths.has(targetPath)) paths.add(targetPath);
    }
    await this.#loadPaths(paths);
    this.#loadedTo = at + this.#loadAhead;
    this.#loadAhead *= 4;
  }

  async store(): Promise<void> {
    const { result } = this.fold;
    this.fold = this.#newFold();
    for (const touch of result.touches) this.touches.push(touch);
    if (result.files.size + result.shown.size + result.waiting.size + result.settled.size === 0) return;
    if (result.waiting.size > 0) this.#start.someWait = true;
    const shown = [...result.shown];
    const { share, directories, make } = this.#target;
    const ids = await directories.findOrMake(share, shown, make);
    const dirIdOf = (path: string) => ids.get(path) as bigint;
    await Promise.all([
      storeFolded(this.#client, share, result, dirIdOf, this.#start.missingScanId),
      reviveDirectories(this.#client, share, shown.map(dirIdOf)),
    ]);
    for (const path of shown) {
      const directory = this.#known.paths.get(path)?.directory;
      if (directory) directory.isThere = true;
    }
  }

  /** Afterwards nothing is known any more of what lies below, and of what holds the directory's new place. */
  async applyToDirectory(event: AuditEvent): Promise<void> {
    const context: DirectoryContext = {
      client: this.#client,
      share: this.#target.share,
      make: this.#target.make,
      missingScanId: this.#start.missingScanId,
    };
    const { counter, carried } = await (event.action === "MOVE" ? moveDirectory(context, event) : deleteDirectory(context, event));
    this.#counts[counter] += 1;
    this.#forgetBelow(event.path);
    if (event.action === "MOVE") {
      this.#forgetBelow(event.targetPath);
      for (const path of withAncestors([event.targetPath])) this.#known.paths.delete(path);
    }
    this.#loadedTo = 0;
    this.#loadAhead = loadedAfterDirectory;
    await this.#bring(carried);
  }

  #forgetBelow(root: string): void {
    const start = `${root}/`;
    for (const path of this.#known.paths.keys()) if (path === root || path.startsWith(start)) this.#known.paths.delete(path);
  }

  /** Accesses that come with what was moved. */
  async #bring(carried: Map<string, AccessEvent>): Promise<void> {
    for (const path of carried.keys()) this.#changing.add(path);
    await this.#loadPaths(new Set([...carried.keys()].filter((path) => !this.#known.paths.has(path))));
    for (const [path, access] of carried) this.fold.bring(path, access);
  }

  async #loadPaths(paths: Set<string>): Promise<void> {
    if (paths.size === 0) return;
    const { share, directories } = this.#target;
    await loadPaths(
      this.#client,
      { share, directories, changing: this.#changing, ofDirectories: this.#ofDirectories, ...this.#start },
      paths,
      this.#known.paths,
    );
  }

  #newFold(): Fold {
    return new Fold(this.#known, this.#counts, { prefetchCounts: this.#target.prefetchIsAccess });
  }
}
