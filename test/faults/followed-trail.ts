/** An audit trail that is written while an agent follows it: in pieces cut anywhere, and rotated. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import type { AuditedShare } from "../support/audited-share.js";
import { cursorsAfter, cursorsOf, expectOutcome } from "../support/audited-trail.js";
import { type GeneratedTrail, partialLine } from "../support/generated-trail.js";
import { environmentOf, type FaultTenant, type Phases } from "./tenant.js";

const piecesOfLog = 12;
const pollSeconds = "0.2";
const interruptEveryMs = 5000;

export class FollowedTrail {
  readonly #at: FaultTenant;
  readonly #share: AuditedShare;
  readonly #trail: GeneratedTrail;
  readonly #directory: string;

  constructor(at: FaultTenant, share: AuditedShare, trail: GeneratedTrail) {
    this.#at = at;
    this.#share = share;
    this.#trail = trail;
    this.#directory = path.join(at.directory, "trail");
  }

  get events(): number {
    return this.#trail.lines;
  }

  /** Until all of it was read. It is written within `writeMs`. */
  async work({ deadline }: Phases, writeMs: number): Promise<void> {
    const { agents, no } = this.#at;
    const name = `trail ${no}`;
    await fs.mkdir(this.#directory, { recursive: true });
    const args = ["audit", this.#directory, "--share", this.#share.shareName, "--follow", "--poll-interval", pollSeconds];
    let ended = false;
    const agent = agents.untilDone(name, args, environmentOf(this.#at, "agent"), deadline).finally(() => {
      ended = true;
    });
    await this.#write(writeMs);
    while (!ended && !deadline.aborted && !(await this.#isRead())) await delay(200);
    // It may be about to start again; a second interrupt soon after the first would end it at once.
    for (; !ended; await Promise.race([agent, delay(interruptEveryMs)])) agents.interrupt(name);
    const { status, stderr } = await agent;
    // Some lines are refused; an agent that was killed may have told of them before.
    expect([0, 3], stderr).toContain(status);
  }

  /** As the model has it, and every line is applied once. */
  check(): Promise<void> {
    return expectOutcome(this.#share, this.#trail);
  }

  async #isRead(): Promise<boolean> {
    const cursors = await cursorsOf(this.#share).catch(() => []);
    const wanted = cursorsAfter(this.#trail);
    return cursors.length === wanted.size && cursors.every(({ auditFilePath, position }) => wanted.get(auditFilePath) === Number(position));
  }

  /** All nodes side by side. */
  async #write(withinMs: number): Promise<void> {
    const nodes = [...new Set(this.#trail.logs.map(({ node }) => node))];
    const logsOfNode = this.#trail.logs.length / nodes.length;
    await Promise.all(nodes.map((node) => this.#writeNode(node, withinMs / logsOfNode / piecesOfLog)));
  }

  async #writeNode(node: string, pauseMs: number): Promise<void> {
    const { random } = this.#at;
    for (const { name, bytes, active } of this.#trail.logs.filter((log) => log.node === node)) {
      const file = path.join(this.#directory, name);
      const open = `${file}.active`;
      await fs.mkdir(path.dirname(file), { recursive: true });
      for (let at = 0, piece = 1; at < bytes.length; piece++) {
        const end = piece === piecesOfLog ? bytes.length : Math.min(bytes.length, at + random.between(1, (2 * bytes.length) / piecesOfLog));
        await fs.appendFile(open, bytes.subarray(at, end));
        at = end;
        await delay(pauseMs);
      }
      if (active) await fs.appendFile(open, partialLine);
      else await fs.rename(open, file);
    }
  }
}
