/**
 * A run of audit events, applied in their order: folded in memory, and written before one that moves or
 * deletes a directory, which statements of its own apply.
 */
import type { ClientBase } from "pg";
import { together } from "../../db/together.js";
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
import { addKnown, findKeys, type LoadContext, loadPaths, type ShareFacts } from "./load.js";
import { askFiles, changedSince, type Found, type Key, type Sighting, seeFiles } from "./load-files.js";
import { missingScan } from "./missing-scan.js";
import { reviveDirectories, storeFolded } from "./store.js";
import { doSomeWait } from "./waiting.js";

export interface RunTarget {
  share: ShareRef;
  prefetchIsAccess: boolean;
  make: MakeDirectories;
  directories: DirectoryCache;
}

/**
 * A run of events that is to be applied; `counts` is added to. To be called before the share is held: the files that events only read are looked
 * up already, while another transaction is applied. Under the share's lock it is asked which of them have changed since.
 */
export async function prepareRun(client: ClientBase, target: RunTarget, events: AuditEvent[], counts: Counts): Promise<Run> {
  const run = new Run(client, target, events, counts);
  await run.prepare();
  return run;
}

/** Events whose paths are looked up after one of a directory: another one may follow soon, and makes them unknown again. */
const loadedAfterDirectory = 64;

export class Run {
  #fold: Fold;
  readonly #touches: Touch[] = [];
  readonly #client: ClientBase;
  readonly #target: RunTarget;
  readonly #events: AuditEvent[];
  readonly #counts: Counts;
  readonly #known: Known = { paths: new Map(), holdingWaiting: new Set() };
  /** Paths that any of the events may make, change, move or delete. */
  readonly #changing: Set<string>;
  readonly #load: LoadContext;
  /** Set by `start`. */
  #facts: ShareFacts = { rootListedMicros: undefined, someWait: false };
  /** The scan that what an event deletes is said to be missing since. */
  #missingScanId = 0n;
  /** Of the paths of all events: the files that were seen, what is to be asked, and paths whose directories had no row. */
  #seen: Sighting | undefined;
  #toAsk: Key[] = [];
  #unplaced: string[] = [];
  /** The event up to which all paths are known, and how many are looked up at the next time. */
  #loadedTo: number;
  #loadAhead = loadedAfterDirectory;

  constructor(client: ClientBase, target: RunTarget, events: AuditEvent[], counts: Counts) {
    this.#client = client;
    this.#target = target;
    this.#events = events;
    this.#counts = counts;
    this.#loadedTo = events.length;
    const changing = new Set<string>();
    const ofDirectories = new Set<string>();
    for (const { action, path, targetPath } of events) {
      if (action === "READ" || action === "PREFETCH") continue;
      changing.add(path);
      changing.add(targetPath);
      if (action === "MOVE" || action === "CREATE_DIRECTORY" || action === "DELETE_DIRECTORY") ofDirectories.add(path);
    }
    this.#changing = changing;
    this.#load = { share: target.share, directories: target.directories, changing, ofDirectories };
    this.#fold = this.#newFold();
  }

  async prepare(): Promise<void> {
    const { placed, unplaced } = await findKeys(this.#client, this.#load, this.#unknownPaths(0, this.#events.length));
    const onlyRead = placed.filter(({ path }) => !this.#changing.has(path));
    this.#seen = await seeFiles(this.#client, this.#target.share, onlyRead);
    this.#toAsk = [...placed.filter(({ path }) => this.#changing.has(path)), ...this.#seen.absent];
    this.#unplaced = unplaced;
  }

  /**
   * Asks for what is known of all paths, after `prepare`. Its statements may be sent right behind the one that takes the share's lock. Throws
   * FAILED_PRECONDITION for a share that was never scanned.
   */
  async start(): Promise<void> {
    const { share } = this.#target;
    const seen = this.#seen as Sighting;
    const [missingScanId, rootListedMicros, someWait, changedPlaces, asked, again] = await together([
      missingScan(this.#client, share),
      readListedMicros(this.#client, share, "/"),
      doSomeWait(this.#client, share),
      changedSince(this.#client, share, seen),
      askFiles(this.#client, share, this.#toAsk, this.#changing),
      // Who held the share meanwhile may have made their directories.
      findKeys(this.#client, this.#load, this.#unplaced),
    ]);
    this.#missingScanId = missingScanId;
    this.#facts = { rootListedMicros, someWait };
    const changed = new Set(changedPlaces);
    const toAskNow = [...again.placed, ...changedPlaces.map((place) => (seen.found[place] as Found).key)];
    const first = { found: [...seen.found.filter((_, place) => !changed.has(place)), ...asked], unplaced: again.unplaced };
    const [late] = await together([
      askFiles(this.#client, share, toAskNow, this.#changing),
      addKnown(this.#client, this.#load, this.#facts, first, this.#known.paths),
    ]);
    if (late.length > 0) await addKnown(this.#client, this.#load, this.#facts, { found: late, unplaced: [] }, this.#known.paths);
  }

  /** Applies all events in their order; resolves with the accesses to tiered files. */
  async apply(): Promise<Touch[]> {
    for (const [at, event] of this.#events.entries()) {
      await this.#loadFor(at);
      if (this.#fold.apply(event)) continue;
      await this.#store();
      await this.#applyToDirectory(event);
    }
    await this.#store();
    return this.#touches;
  }

  /** Paths of so many events that are not known. */
  #unknownPaths(from: number, count: number): Set<string> {
    const paths = new Set<string>();
    for (const { path, targetPath } of this.#events.slice(from, from + count)) {
      if (!this.#known.paths.has(path)) paths.add(path);
      if (targetPath !== "" && !this.#known.paths.has(targetPath)) paths.add(targetPath);
    }
    return paths;
  }

  /** Loads the paths of the event `at` that are not known any more, with those of events to come. */
  async #loadFor(at: number): Promise<void> {
    if (at < this.#loadedTo) return;
    await this.#loadPaths(this.#unknownPaths(at, this.#loadAhead));
    this.#loadedTo = at + this.#loadAhead;
    this.#loadAhead *= 4;
  }

  async #store(): Promise<void> {
    const { result } = this.#fold;
    this.#fold = this.#newFold();
    for (const touch of result.touches) this.#touches.push(touch);
    if (result.files.size + result.shown.size + result.waiting.size + result.settled.size === 0) return;
    if (result.waiting.size > 0) this.#facts.someWait = true;
    const shown = [...result.shown];
    const { share, directories, make } = this.#target;
    const ids = await directories.findOrMake(share, shown, (paths) => make(paths, this.#missingScanId));
    const dirIdOf = (path: string) => ids.get(path) as bigint;
    await together([
      storeFolded(this.#client, share, result, dirIdOf, this.#missingScanId),
      reviveDirectories(this.#client, share, shown.map(dirIdOf)),
    ]);
    for (const path of shown) {
      const directory = this.#known.paths.get(path)?.directory;
      if (directory) directory.isThere = true;
    }
  }

  /** Afterwards nothing is known any more of what lies below, and of what holds the directory's new place. */
  async #applyToDirectory(event: AuditEvent): Promise<void> {
    const context: DirectoryContext = {
      client: this.#client,
      share: this.#target.share,
      make: this.#target.make,
      missingScanId: this.#missingScanId,
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
    for (const [path, access] of carried) this.#fold.bring(path, access);
  }

  async #loadPaths(paths: Set<string>): Promise<void> {
    if (paths.size === 0) return;
    await loadPaths(this.#client, this.#load, this.#facts, paths, this.#known.paths);
  }

  #newFold(): Fold {
    return new Fold(this.#known, this.#counts, { prefetchCounts: this.#target.prefetchIsAccess });
  }
}
