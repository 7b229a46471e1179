/** A small real tree that people work on, with the audit events of what they do. */
import * as fs from "node:fs";
import * as path from "node:path";
import { create } from "@bufbuild/protobuf";
import { AuditAction, type AuditEvent, AuditEventSchema } from "../../src/gen/frostline/v1/audit_pb.js";
import { dirOf, isWithin } from "./audit-model.js";
import type { Random } from "./random.js";

export interface BusyFile {
  /** Stays its own through every renaming. */
  no: number;
  /** When an event told of its creation, and of the newest access, in seconds. */
  createdUnix: number;
  eventAtime: number;
}

export class BusyTree {
  /** By path from the root. */
  readonly files = new Map<string, BusyFile>();
  readonly directories = new Set<string>(["/"]);
  /** Not yet taken by `takeEvents`. */
  #events: AuditEvent[] = [];
  /** How long ago what happens now is said to have happened. */
  clockBehindSeconds = 0;
  #made = 0;
  #offset = 0n;
  readonly #root: string;
  readonly #random: Random;

  /** Fills the empty directory `root`, without events. */
  constructor(root: string, random: Random) {
    this.#root = root;
    this.#random = random;
    for (let n = 0; n < 25; n++) this.#makeDirectory();
    for (let n = 0; n < 250; n++) this.#createFile();
    // Of what is there from the start, only the file system tells.
    this.takeEvents();
    this.#offset = 0n;
    for (const file of this.files.values()) file.createdUnix = 0;
  }

  /** What happened since the last time, in order; the offset of an event is its place in the trail. */
  takeEvents(): AuditEvent[] {
    const taken = this.#events;
    this.#events = [];
    return taken;
  }

  /** One random deed on the real tree. */
  act(): void {
    const deeds: [number, () => void][] = [
      [0.3, () => this.#read()],
      [0.4, () => this.#touchWithoutEvent()],
      [0.5, () => this.#write()],
      [0.65, () => this.#createFile()],
      [0.72, () => this.#deleteFile()],
      [0.85, () => this.#moveFile()],
      [0.93, () => this.#moveDirectory()],
      [0.97, () => this.#makeDirectory()],
      [1, () => this.#deleteDirectory()],
    ];
    const at = this.#random.next();
    deeds.find(([below]) => at < below)?.[1]();
  }

  #tell(action: AuditAction, at: string, targetPath = ""): number {
    const nowMs = Date.now() - this.clockBehindSeconds * 1000;
    const timeMicros = BigInt(nowMs) * 1000n;
    this.#events.push(create(AuditEventSchema, { offset: this.#offset++, timeMicros, action, path: at, targetPath, user: "ann" }));
    return Math.floor(nowMs / 1000);
  }

  #real(at: string): string {
    return path.join(this.#root, at);
  }

  #file(): string | undefined {
    return this.files.size === 0 ? undefined : this.#random.pick([...this.files.keys()]);
  }

  #place(): string {
    const dir = this.#random.pick([...this.directories]);
    return dir === "/" ? "" : dir;
  }

  #access(at: string, action: AuditAction): void {
    const file = this.files.get(at);
    if (file) file.eventAtime = Math.max(file.eventAtime, this.#tell(action, at));
  }

  #read(): void {
    const at = this.#file();
    if (at) this.#access(at, AuditAction.READ);
  }

  /** The file system alone knows of this access. */
  #touchWithoutEvent(): void {
    const at = this.#file();
    if (!at) return;
    const { atimeMs, mtimeMs } = fs.statSync(this.#real(at));
    fs.utimesSync(this.#real(at), atimeMs / 1000 + 1000, mtimeMs / 1000);
  }

  #write(): void {
    const at = this.#file();
    if (!at) return;
    fs.appendFileSync(this.#real(at), "x");
    this.#access(at, AuditAction.WRITE);
  }

  #createFile(): void {
    const no = ++this.#made;
    const at = `${this.#place()}/f${no}`;
    fs.writeFileSync(this.#real(at), Buffer.alloc(no));
    // Long ago, so that events are newer.
    fs.utimesSync(this.#real(at), 1_700_000_000 + no, 1_700_000_000 + no);
    this.files.set(at, { no, createdUnix: this.#tell(AuditAction.CREATE_FILE, at), eventAtime: 0 });
  }

  #deleteFile(): void {
    const at = this.#file();
    if (at) this.#unlink(at);
  }

  #unlink(at: string): void {
    fs.unlinkSync(this.#real(at));
    this.files.delete(at);
    this.#tell(AuditAction.DELETE_FILE, at);
  }

  #moveFile(): void {
    const at = this.#file();
    const target = this.#random.next() < 0.2 ? this.#file() : `${this.#place()}/g${++this.#made}`;
    if (!at || !target || at === target) return;
    fs.renameSync(this.#real(at), this.#real(target));
    this.files.set(target, this.files.get(at) as BusyFile);
    this.files.delete(at);
    this.#tell(AuditAction.MOVE, at, target);
  }

  #makeDirectory(): void {
    const at = `${this.#place()}/d${++this.#made}`;
    fs.mkdirSync(this.#real(at));
    this.directories.add(at);
    this.#tell(AuditAction.CREATE_DIRECTORY, at);
  }

  #moveDirectory(): void {
    const at = this.#place();
    const target = `${this.#place()}/e${++this.#made}`;
    if (at === "" || isWithin(target, at)) return;
    fs.renameSync(this.#real(at), this.#real(target));
    for (const dir of [...this.directories]) {
      if (!isWithin(dir, at)) continue;
      this.directories.delete(dir);
      this.directories.add(target + dir.slice(at.length));
    }
    for (const [from, file] of [...this.files]) {
      if (!isWithin(from, at)) continue;
      this.files.delete(from);
      this.files.set(target + from.slice(at.length), file);
    }
    this.#tell(AuditAction.MOVE, at, target);
  }

  /** One with nothing but files in it. */
  #deleteDirectory(): void {
    const leaves = [...this.directories].filter((dir) => dir !== "/" && ![...this.directories].some((other) => dirOf(other) === dir));
    if (leaves.length === 0) return;
    const at = this.#random.pick(leaves);
    for (const file of [...this.files.keys()]) if (dirOf(file) === at) this.#unlink(file);
    fs.rmdirSync(this.#real(at));
    this.directories.delete(at);
    this.#tell(AuditAction.DELETE_DIRECTORY, at);
  }
}
