/** Does what the plan of a round says, when it says it, and writes down what came of it. */
import { setTimeout as delay } from "node:timers/promises";
import type { Agents } from "./agents.js";
import type { Disk } from "./disk.js";
import type { Link } from "./link.js";
import type { Fault, FaultKind } from "./plan.js";
import type { FaultyPostgres } from "./postgres.js";
import type { FaultyServer } from "./server.js";
import { takeConnections, terminateCopy, terminateMerge } from "./sessions.js";

export interface World {
  disk: Disk;
  postgres: FaultyPostgres;
  servers: FaultyServer[];
  /** Between agents and servers, and between servers and PostgreSQL. */
  links: Link[];
  agents: Agents;
}

export interface Injected extends Fault {
  /** Since the beginning of the round. */
  beganMs: number;
  endedMs: number;
  /** What was struck; undefined when there was nothing to strike. */
  struck: string | undefined;
}

const slowestMs = 400;
const copyPieceMs = 20;
const leastBytesPerSecond = 20_000;
const mostBytesPerSecond = 300_000;
const leftOnDiskBytes = 256 * 1024;
const skewMsAtMost = 20 * 60_000;

/** Resolves once all faults are over and undone. Rejects when one could not be, which is a fault of the harness. */
export async function inject(world: World, plan: Fault[], log: (injected: Injected) => void): Promise<void> {
  const startMs = performance.now();
  const sinceStart = () => Math.round(performance.now() - startMs);
  const running: Promise<void>[] = [];
  for (const fault of plan) {
    await delay(Math.max(0, fault.atMs - sinceStart()));
    const beganMs = sinceStart();
    const strike = strikes[fault.kind](world, fault).then((struck) => log({ ...fault, beganMs, endedMs: sinceStart(), struck }));
    // Its failure is told below, when the others have been undone.
    strike.catch(() => {});
    running.push(strike);
  }
  await Promise.allSettled(running);
  await Promise.all(running);
}

type Strike = (world: World, fault: Fault) => Promise<string | undefined>;

function nth<T>(items: readonly T[], fault: Fault): T {
  return items[fault.target % items.length] as T;
}

/** For as long as the fault says, and then not any more. */
async function hold(fault: Fault, undo: () => unknown): Promise<void> {
  await delay(fault.forMs);
  await undo();
}

const strikes: Record<FaultKind, Strike> = {
  async "kill agent"({ agents }, fault) {
    const [name, child] = nth(agents.running, fault) ?? [];
    return child?.kill("SIGKILL") ? name : undefined;
  },
  async "pause agent"({ agents }, fault) {
    const [name, child] = nth(agents.running, fault) ?? [];
    if (!child?.kill("SIGSTOP")) return undefined;
    await hold(fault, () => child.kill("SIGCONT"));
    return name;
  },
  async "skew clock"({ agents }, fault) {
    agents.skewMs = Math.round((fault.amount * 2 - 1) * skewMsAtMost);
    const [name, child] = nth(agents.running, fault) ?? [];
    return child?.kill("SIGKILL") ? `${name}, by ${agents.skewMs} ms` : undefined;
  },
  async "kill server"({ servers }, fault) {
    const server = nth(servers, fault);
    server.kill();
    return server.name;
  },
  async "pause server"({ servers }, fault) {
    const server = nth(servers, fault);
    await hold(fault, server.pause());
    return server.name;
  },
  async "kill postgres"({ postgres }, fault) {
    postgres.kill(fault.forMs);
    return "postgres";
  },
  async "restart postgres"({ postgres }) {
    postgres.restart();
    return "postgres";
  },
  async "pause postgres"({ postgres }, fault) {
    await hold(fault, postgres.pause());
    return "postgres";
  },
  async cut({ links }, fault) {
    const link = nth(links, fault);
    link.refusing = true;
    const count = link.cut(fault.amount < 0.5);
    await hold(fault, () => {
      link.refusing = false;
    });
    return count > 0 ? `${link.name}: ${count}` : undefined;
  },
  async delay({ links }, fault) {
    const link = nth(links, fault);
    link.delayMs = 1 + fault.amount * slowestMs;
    await hold(fault, () => {
      link.delayMs = 0;
    });
    return link.name;
  },
  async throttle({ links }, fault) {
    const link = nth(links, fault);
    link.rate = leastBytesPerSecond + fault.amount * (mostBytesPerSecond - leastBytesPerSecond);
    await hold(fault, () => {
      link.rate = Number.POSITIVE_INFINITY;
    });
    return link.name;
  },
  async "half-close"({ links }, fault) {
    const link = nth(links, fault);
    const count = link.halfClose();
    await hold(fault, () => link.endHalfClosed());
    return count > 0 ? `${link.name}: ${count}` : undefined;
  },
  async stall({ links }, fault) {
    const link = nth(links, fault);
    link.stall();
    await hold(fault, () => link.resume());
    return link.name;
  },
  async "terminate copy"({ postgres, links }, fault) {
    // So that it takes a while.
    const slow = links.filter(({ name }) => name.endsWith("to postgres"));
    for (const link of slow) link.delayMs = copyPieceMs;
    const struck = await terminateCopy(postgres.database.superuserUrl, fault.forMs).catch(unreachable);
    for (const link of slow) link.delayMs = 0;
    return struck ? "postgres" : undefined;
  },
  async "terminate merge"({ postgres }, fault) {
    return (await terminateMerge(postgres.database.superuserUrl, fault.forMs).catch(unreachable)) ? "postgres" : undefined;
  },
  async "exhaust connections"({ postgres }, fault) {
    const taken = await takeConnections(postgres.database.runtimeUrl, fault.forMs).catch(unreachable);
    return taken === undefined ? undefined : `postgres: ${taken}`;
  },
  async "fill disk"({ disk }, fault) {
    if (disk.fill === undefined) return undefined;
    await disk.fill(Math.round(fault.amount * leftOnDiskBytes));
    await hold(fault, () => disk.free());
    return "postgres";
  },
};

/** Another fault has it down or keeps it busy at the moment. Anything but a database's or a connection's error is ours. */
function unreachable(error: Error & { code?: string }): undefined {
  if (error.code === undefined && !/^Connection terminated|timeout|not queryable/.test(error.message)) throw error;
}
