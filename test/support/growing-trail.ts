/** A trail that is written while an agent follows it: in pieces cut anywhere, rotated, truncated, and one log replaced. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { AuditProgress } from "../../src/agent/audit.js";
import { type GeneratedLog, type GeneratedTrail, partialLine } from "./generated-trail.js";
import type { Random } from "./random.js";

export class Growth {
  /** The log whose file was replaced by that of the node's next one. */
  readonly replaced: string;
  /** Where each log's cursor must stand in the end. */
  readonly cursors: Map<string, number>;
  readonly #directory: string;
  readonly #cursorOf: (name: string) => Promise<number>;
  readonly #random: Random;
  readonly #nodes: GeneratedLog[][];
  #progress: AuditProgress | undefined;
  #told: () => void = () => {};

  /** `cursorOf`: where the server's cursor of a log stands. */
  constructor(directory: string, trail: GeneratedTrail, random: Random, cursorOf: (name: string) => Promise<number>) {
    this.#directory = directory;
    this.#cursorOf = cursorOf;
    this.#random = random;
    this.#nodes = [...new Set(trail.logs.map(({ node }) => node))].map((node) => trail.logs.filter((log) => log.node === node));
    this.cursors = new Map(trail.logs.map(({ name, bytes }) => [name, bytes.length]));
    const [last, next] = (random.pick(this.#nodes) as GeneratedLog[]).slice(-2) as [GeneratedLog, GeneratedLog];
    this.replaced = last.name;
    this.cursors.set(last.name, next.bytes.length);
    this.cursors.delete(next.name);
  }

  /** What the agent says; it says something in each round. */
  heard(progress: AuditProgress): void {
    this.#progress = progress;
    const told = this.#told;
    this.#told = () => {};
    told();
  }

  /** Writes it all; resolves once the agent has read it. */
  async run(): Promise<void> {
    await Promise.all(this.#nodes.map((logs) => this.#writeNode(logs)));
    const total = [...this.cursors.values()].reduce((sum, position) => sum + position, 0);
    await this.#until(({ positionBytes }) => positionBytes === total);
  }

  async #writeNode(logs: GeneratedLog[]): Promise<void> {
    for (const log of logs) {
      const before = logs[logs.indexOf(log) - 1];
      const takesOver = before?.name === this.replaced;
      const file = path.join(this.#directory, takesOver ? before.name : log.name);
      const open = `${file}.active`;
      await fs.mkdir(path.dirname(file), { recursive: true });
      if (takesOver) await fs.truncate(open, 0);
      await this.#write(open, log.bytes);
      if (log.active) await fs.appendFile(open, partialLine);
      else if (log.name !== this.replaced) await fs.rename(open, file);
      // What a file that is replaced held must have been read.
      else while ((await this.#cursorOf(log.name)) !== log.bytes.length) await this.#until(() => true);
    }
  }

  async #write(file: string, bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const next = Math.min(bytes.length, at + this.#random.between(1, Math.ceil(bytes.length / 3)));
      await fs.appendFile(file, bytes.subarray(at, next));
      at = next;
      if (this.#random.next() < 0.5) await this.#until(() => true);
      if (this.#random.next() < 0.15) {
        // Some of it is lost, and written again.
        const left = this.#random.between(0, at - 1);
        await fs.truncate(file, left);
        if (this.#random.next() < 0.7) await this.#until(() => true);
        await fs.appendFile(file, bytes.subarray(left, at));
      }
    }
  }

  /** The next time that the agent says so. */
  async #until(done: (progress: AuditProgress) => boolean): Promise<void> {
    do {
      await new Promise<void>((resolve) => {
        const told = this.#told;
        this.#told = () => {
          told();
          resolve();
        };
      });
    } while (this.#progress === undefined || !done(this.#progress));
  }
}
