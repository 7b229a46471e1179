/** One operation, measured: time, CPU and memory of each process, WAL, and what the tables grew by. */
import type { Client } from "pg";
import { type ResourceUse, watchProcesses } from "./processes.js";
import { type Growth, growth, relations, walPosition } from "./relations.js";
import { median } from "./report.js";

/** One run. */
export interface Measured extends ResourceUse {
  /** As the work itself says. */
  seconds: number;
  walBytes: number;
  grown: Growth[];
}

/** All runs. */
export interface Operation {
  name: string;
  /** What a run handled: files, rows, events. */
  items: number;
  /** One a run. */
  seconds: number[];
  /** Undefined when only time was measured. */
  use: OperationUse | undefined;
}

export interface OperationUse {
  /** Medians. */
  cpuSecondsPerMillion: ResourceUse["cpuSeconds"];
  /** The highest of all runs; see ResourceUse. */
  peakBytes: ResourceUse["peakBytes"];
  /** Medians. */
  walBytesPerItem: number;
  grownBytesPerItem: number;
  /** Of the first run, what grew most. */
  grown: Growth[];
}

const grownShown = 8;

/** Processes and database that belong to it. */
export interface Watched {
  server: { pid: number };
  postgresPid: number;
  look: Client;
}

/** The work resolves with its own seconds, so that starting an agent's process need not count. */
export async function measureRun(watched: Watched, work: () => Promise<{ seconds: number }>): Promise<Measured> {
  const before = await relations(watched.look);
  const walBefore = await walPosition(watched.look);
  const stop = watchProcesses(watched.server.pid, watched.postgresPid);
  let seconds: number;
  let use: ResourceUse;
  try {
    ({ seconds } = await work());
  } finally {
    use = stop();
  }
  const walBytes = Number((await walPosition(watched.look)) - walBefore);
  return { seconds, ...use, walBytes, grown: growth(before, await relations(watched.look)) };
}

export function timeOnly(name: string, items: number, seconds: number[]): Operation {
  return { name, items, seconds, use: undefined };
}

/** `items`: what each run handled. */
export function summarise(name: string, items: number, runs: Measured[]): Operation {
  const perItem = (pick: (run: Measured) => number) => median(runs.map(pick)) / items;
  const most = (pick: (run: Measured) => number) => Math.max(...runs.map(pick));
  const agents = runs.map(({ peakBytes }) => peakBytes.agent).filter((bytes) => bytes !== undefined);
  return {
    name,
    items,
    seconds: runs.map(({ seconds }) => seconds),
    use: {
      cpuSecondsPerMillion: {
        agent: perItem(({ cpuSeconds }) => cpuSeconds.agent * 1e6),
        server: perItem(({ cpuSeconds }) => cpuSeconds.server * 1e6),
        postgres: perItem(({ cpuSeconds }) => cpuSeconds.postgres * 1e6),
      },
      peakBytes: {
        agent: agents.length === 0 ? undefined : Math.max(...agents),
        server: most(({ peakBytes }) => peakBytes.server),
        postgres: most(({ peakBytes }) => peakBytes.postgres),
      },
      walBytesPerItem: perItem(({ walBytes }) => walBytes),
      grownBytesPerItem: perItem(({ grown }) => grown.reduce((sum, { grownBytes }) => sum + grownBytes, 0)),
      grown: runs[0]?.grown.slice(0, grownShown) ?? [],
    },
  };
}
