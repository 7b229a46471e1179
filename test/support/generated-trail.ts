/**
 * A generated audit trail, and what it must make of a share.
 *
 * There is one right outcome in whatever order the nodes arrive, since each node has a subtree of
 * its own. In `/shared` all nodes work on the same files, and only do what commutes: they read and
 * write files that stay, and read files that exactly one of them deletes.
 */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { type Counts, newCounts } from "../../src/ingest/audit/counts.js";
import type { AuditAction } from "../../src/ingest/audit/events.js";
import { dirOf, Model, type ModelEvent } from "./audit-model.js";
import type { FakeTree } from "./ingest.js";
import { fromSeed, type Random } from "./random.js";

/** Long ago: a scan of today is newer than all of it. */
export const startSeconds = 1_770_000_000;
export const excludedUser = "backup-svc";
const nodes = 8;
const logsPerNode = 5;
/** How many of a hundred files lie in `/shared`. */
const sharedPercent = 5;
const filespaceUuid = "0b9e7a10-0000-4000-8000-0000000000f5";

export interface GeneratedLog {
  /** From the trail's root, without what marks it as open. */
  name: string;
  node: string;
  /** Whole lines. */
  bytes: Buffer;
  lines: number;
  /** The last of its node: still open, and with a last line that is not whole. */
  active: boolean;
}

export const partialLine = '{"timestamp":1790000000000000,"user":{"name":"ann';

export interface ExpectedFile {
  atime: number;
  /** Its number; null for a file that events made known. */
  frn: string | null;
}

export interface GeneratedTrail {
  /** As a scan finds it before. */
  tree: FakeTree;
  logs: GeneratedLog[];
  lines: number;
  /** Of what the trail does outside of `/shared`, and of what in it does not hang on the order. */
  counts: Counts;
  /** Accesses within `/shared`: whether one is applied, stale or waiting hangs on the order. */
  sharedAccesses: number;
  /** Accesses applied outside of `/shared`: each has its row in the audit log. */
  ownApplied: number;
  /** Accesses that had waited and were given to a file later: each has its row as well. */
  given: number;
  files: Map<string, ExpectedFile>;
  directories: string[];
}

/** The same trail for the same numbers. */
export function generateTrail(events: number, files: number): GeneratedTrail {
  const random = fromSeed(20260923);
  const shared = new Model(1);
  const sharedFiles = Math.floor((files * sharedPercent) / 100);
  for (let n = 0; n < sharedFiles; n++) shared.addFile(`/shared/d${n % 20}/${n % 4 === 0 ? "doomed" : "stays"}-${n}.mov`, startSeconds);
  const sharedPaths = [...shared.files.keys()];
  const perNode = Math.floor((files - sharedFiles) / nodes);
  const writers = Array.from({ length: nodes }, (_, n) => {
    const model = new Model(1_000_000 * (n + 1));
    makeFiles(model, `/n${n}`, perNode, random);
    return new NodeWriter(n, model, shared, sharedPaths, random);
  });
  const initial = new Set([shared, ...writers.map(({ model }) => model)].flatMap(({ files: known }) => [...known.values()]));
  const tree = treeOf([shared, ...writers.map(({ model }) => model)]);
  const logs: GeneratedLog[] = [];
  const eventsOfLog = Math.ceil(events / nodes / logsPerNode);
  // Log by log over all nodes: what is shared is done by them side by side.
  for (let log = 0; log < logsPerNode; log++) for (const writer of writers) logs.push(writer.writeLog(log, eventsOfLog));
  const all = [shared, ...writers.map(({ model }) => model)];
  const counts = newCounts();
  for (const { counts: some } of [...all, ...writers.map((writer) => ({ counts: writer.counts }))])
    for (const name of Object.keys(some) as (keyof Counts)[]) counts[name] += some[name];
  const sharedAccesses = shared.counts.applied + shared.counts.stale + shared.counts.waiting;
  for (const name of ["applied", "stale", "waiting"] as const) counts[name] -= shared.counts[name];
  const ends = all.flatMap(({ files: known }) => [...known]);
  return {
    tree,
    logs,
    lines: logs.reduce((sum, { lines }) => sum + lines, 0),
    counts,
    sharedAccesses,
    ownApplied: counts.applied,
    given: all.reduce((sum, model) => sum + model.given, 0),
    files: new Map(ends.map(([at, file]) => [at, { atime: file.atime, frn: initial.has(file) ? String(file.fileNo) : null }])),
    directories: [...new Set(all.flatMap(({ dirs }) => [...dirs]))].sort(),
  };
}

/** As a scan finds it afterwards. Files that events made known have numbers of their own by then. */
export function treeAfter(trail: GeneratedTrail): FakeTree {
  const tree: FakeTree = new Map(trail.directories.map((dir) => [dir, new Map()]));
  let number = 100_000_000n;
  for (const [at, { frn }] of trail.files) {
    const no = frn === null ? ++number : BigInt(frn);
    const file = { sizeBytes: no, mtimeUnix: 1n, atimeUnix: BigInt(startSeconds), ctimeUnix: 1n, frn: no };
    tree.get(dirOf(at))?.set(path.posix.basename(at), file);
  }
  return tree;
}

export function pathsOfTree(tree: FakeTree): string[] {
  return [...tree].flatMap(([dir, files]) => [...files.keys()].map((name) => (dir === "/" ? `/${name}` : `${dir}/${name}`))).sort();
}

/** Writes the logs as a filespace has them, in a directory `.lucid_audit`. */
export async function writeTrail(directory: string, logs: readonly GeneratedLog[]): Promise<void> {
  for (const log of logs) {
    const file = path.join(directory, ".lucid_audit", log.active ? `${log.name}.active` : log.name);
    await fs.mkdir(path.dirname(file), { recursive: true });
    await fs.writeFile(file, log.active ? Buffer.concat([log.bytes, Buffer.from(partialLine)]) : log.bytes);
  }
}

function makeFiles(model: Model, root: string, count: number, random: Random): void {
  const directories = [root];
  for (let n = 0; n < count / 25; n++) {
    const parent = random.pick(directories.slice(-30));
    directories.push(parent.split("/").length > 5 ? `${root}/d${n}` : `${parent}/d${n}`);
  }
  for (let n = 0; n < count; n++) model.addFile(`${random.pick(directories)}/${nameOf(n)}`, startSeconds);
}

function nameOf(n: number): string {
  return n % 7 === 0 ? `Élan \\ 東京 ${n}.mov` : `f${n}.mxf`;
}

function treeOf(models: Model[]): FakeTree {
  const tree: FakeTree = new Map();
  for (const { dirs, files } of models) {
    for (const dir of dirs) if (!tree.has(dir)) tree.set(dir, new Map());
    for (const [at, { fileNo }] of files) {
      const file = { sizeBytes: BigInt(fileNo), mtimeUnix: 1n, atimeUnix: BigInt(startSeconds), ctimeUnix: 1n, frn: BigInt(fileNo) };
      tree.get(dirOf(at))?.set(path.posix.basename(at), file);
    }
  }
  return tree;
}

/** Names of the trail, and how the line is written when it is not the rule. */
const actionNames: Record<AuditAction, string> = {
  OTHER: "Pin",
  READ: "FileRead",
  PREFETCH: "PreHydrate",
  WRITE: "FileWritten",
  CREATE_FILE: "FileCreate",
  CREATE_DIRECTORY: "DirectoryCreate",
  MOVE: "Move",
  DELETE_FILE: "FileDelete",
  DELETE_DIRECTORY: "DirectoryDelete",
};

const malformed = [
  "no JSON at all",
  "",
  "[1, 2]",
  '{"timestamp":"soon","operation":{"action":"FileRead","entryPath":"/n0/x"}}',
  `{"timestamp":${startSeconds}000000,"operation":{"action":"FileRead","entryPath":"not/from/the/root"}}`,
  `{"timestamp":${startSeconds}000000,"operation":{"action":"Move","entryPath":"/n0/x"}}`,
  `{"timestamp":${startSeconds}000000,"operation":{"action":"FileRead","entryPath":"/n0/../n1/x"}}`,
];

/** One node: its subtree, its clock, its events in their order. */
class NodeWriter {
  readonly model: Model;
  /** Of lines that change nothing. */
  readonly counts = newCounts();
  readonly #no: number;
  readonly #root: string;
  readonly #shared: Model;
  readonly #sharedPaths: string[];
  readonly #random: Random;
  readonly #skewSeconds: number;
  #seconds = startSeconds + 1000;
  #files: string[] = [];
  #dirs: string[] = [];
  #sinceRefresh = Number.POSITIVE_INFINITY;

  constructor(no: number, model: Model, shared: Model, sharedPaths: string[], random: Random) {
    this.#no = no;
    this.#root = `/n${no}`;
    this.model = model;
    this.#shared = shared;
    this.#sharedPaths = sharedPaths;
    this.#random = random;
    this.#skewSeconds = random.between(-30, 30);
  }

  writeLog(log: number, events: number): GeneratedLog {
    const lines: string[] = [];
    while (lines.length < events) {
      const line = this.#nextLine();
      lines.push(line);
      // Again, as another event: it is one byte range more.
      if (this.#random.next() < 0.02 && lines.length < events) lines.push(this.#repeat(line));
    }
    const node = `node-${this.#no}`;
    return {
      name: `${node}/2026/09/2026-09-23T1${log}.00.00Z.log`,
      node,
      bytes: Buffer.from(lines.map((line) => `${line}\n`).join("")),
      lines: lines.length,
      active: log === logsPerNode - 1,
    };
  }

  #last: () => void = () => {};

  #repeat(line: string): string {
    this.#last();
    return line;
  }

  #nextLine(): string {
    this.#seconds += this.#random.next() < 0.5 ? 1 : 0;
    if (++this.#sinceRefresh > 500) this.#refresh();
    const at = this.#random.next();
    if (at < 0.02) return this.#uncounted("refused", () => this.#random.pick(malformed));
    const event = this.#event();
    if (at < 0.04) return this.#uncounted("excluded", () => lineOf({ ...event, path: this.#file() }, this.#no, excludedUser));
    const model = event.path.startsWith("/shared/") ? this.#shared : this.model;
    this.#last = () => model.apply(event);
    this.#last();
    return lineOf(event, this.#no, "ann");
  }

  #uncounted(counter: "refused" | "excluded", line: () => string): string {
    this.#last = () => {
      this.counts[counter] += 1;
    };
    this.#last();
    return line();
  }

  /** What to choose from: some of it will have moved or gone before the next time. */
  #refresh(): void {
    this.#files = [...this.model.files.keys()];
    this.#dirs = [...this.model.dirs].filter((dir) => dir.split("/").length > 2);
    this.#sinceRefresh = 0;
  }

  #file(): string {
    return this.#files.length === 0 ? `${this.#root}/none` : this.#random.pick(this.#files);
  }

  #dir(): string {
    return this.#dirs.length === 0 ? this.#root : this.#random.pick(this.#dirs);
  }

  #newFile(): string {
    const made = `${this.#dir()}/${nameOf(this.#random.between(0, 5000))}`;
    this.#files.push(made);
    return made;
  }

  #newDir(): string {
    const made = `${this.#random.next() < 0.5 ? this.#root : this.#dir()}/m${this.#random.between(0, 200)}`;
    this.#dirs.push(made);
    return made;
  }

  #event(): ModelEvent {
    // Not always in the order of the clock, and a little apart from that of the others.
    const seconds = this.#seconds + this.#skewSeconds + this.#random.between(-2, 2);
    const timeMicros = BigInt(seconds) * 1_000_000n + BigInt(this.#random.between(0, 999_999));
    const [action, from, to] = this.#random.next() < 0.15 ? this.#sharedDeed() : this.#deed();
    return { action, path: from, targetPath: to, timeMicros };
  }

  #sharedDeed(): [AuditAction, string, string] {
    const at = this.#random.between(0, this.#sharedPaths.length - 1);
    const file = this.#sharedPaths[at] as string;
    if (at % 4 !== 0) return [this.#random.next() < 0.3 ? "WRITE" : "READ", file, ""];
    return [at % nodes === this.#no && this.#random.next() < 0.3 ? "DELETE_FILE" : "READ", file, ""];
  }

  #deed(): [AuditAction, string, string] {
    const deeds: [number, () => [AuditAction, string, string]][] = [
      [0.5, () => ["READ", this.#file(), ""]],
      [0.53, () => ["READ", `${this.#dir()}/never seen ${this.#random.between(0, 99)}`, ""]],
      [0.57, () => ["PREFETCH", this.#file(), ""]],
      [0.74, () => ["WRITE", this.#file(), ""]],
      [0.83, () => ["CREATE_FILE", this.#newFile(), ""]],
      [0.88, () => ["MOVE", this.#file(), this.#random.next() < 0.3 ? this.#file() : this.#newFile()]],
      [0.884, () => ["MOVE", this.#dir(), this.#random.next() < 0.2 ? this.#dir() : this.#newDir()]],
      [0.887, () => ["MOVE", `${this.#dir()}/never there`, this.#newFile()]],
      [0.96, () => ["DELETE_FILE", this.#file(), ""]],
      [0.961, () => ["DELETE_DIRECTORY", this.#dir(), ""]],
      [0.97, () => ["CREATE_DIRECTORY", this.#newDir(), ""]],
      [1, () => ["OTHER", this.#file(), ""]],
    ];
    const at = this.#random.next();
    const [, deed] = deeds.find(([below]) => at < below) as (typeof deeds)[number];
    return deed();
  }
}

function lineOf(event: ModelEvent, no: number, user: string): string {
  return JSON.stringify({
    timestamp: Number(event.timeMicros),
    user: { name: user, id: user },
    device: { hostName: `desk-${no}`, osName: "macOS", osVersion: "14.2.0" },
    event: { filespace: "northwind.studio", nodeId: `node-${no}`, filespaceUuid },
    operation: {
      action: actionNames[event.action],
      entryPath: event.path,
      ...(event.targetPath === "" ? {} : { targetPath: event.targetPath }),
      fileId: "1",
    },
  });
}
