/** CPU and memory of the processes of a run, from /proc: Linux only. */
import * as fs from "node:fs";

/** A tick of utime and stime, as Linux has shown them on every machine since 2.6. */
const ticksPerSecond = 100;
const sampleIntervalMs = 100;

export interface ProcessFigures {
  peakRssBytes: number;
  cpuSeconds: number;
}

/** What an operation took of each. */
export interface ResourceUse {
  cpuSeconds: { agent: number; server: number; postgres: number };
  /** Agent: undefined when the bench's own process was the client. PostgreSQL: memory of its own of all its processes together, without shared_buffers. */
  peakBytes: { agent: number | undefined; server: number; postgres: number };
}

interface Ticks {
  own: number;
  /** Of children that ended and were waited for, and theirs. */
  ended: number;
}

/** Highest resident set and CPU seconds of a process so far; undefined where /proc does not tell. */
export async function processFigures(pid: number): Promise<ProcessFigures | undefined> {
  const ticks = ticksOf(pid);
  const peakRssBytes = memoryOf(pid, "VmHWM");
  if (ticks === undefined || peakRssBytes === undefined) return undefined;
  return { peakRssBytes, cpuSeconds: ticks.own / ticksPerSecond };
}

/**
 * Begins to watch; the function that it returns ends that and says what was used in between. "agent" is all that
 * this process started, except `serverPid` and `postgresPid`; PostgreSQL is its postmaster with its backends, also those that
 * ended. The server's peak is that since the beginning. Throws where /proc does not tell.
 */
export function watchProcesses(serverPid: number, postgresPid: number): () => ResourceUse {
  // 5 sets the mark of the highest resident set back to the present one.
  fs.writeFileSync(`/proc/${serverPid}/clear_refs`, "5");
  const before = allTicks(serverPid, postgresPid);
  let agentPeak: number | undefined;
  let postgresPeak = 0;
  const sample = () => {
    for (const pid of agents(serverPid, postgresPid)) agentPeak = Math.max(agentPeak ?? 0, memoryOf(pid, "VmHWM") ?? 0);
    const own = [postgresPid, ...childrenOf(postgresPid)].map((pid) => memoryOf(pid, "RssAnon") ?? 0);
    postgresPeak = Math.max(
      postgresPeak,
      own.reduce((sum, bytes) => sum + bytes, 0),
    );
  };
  sample();
  const timer = setInterval(sample, sampleIntervalMs);
  return () => {
    clearInterval(timer);
    sample();
    const after = allTicks(serverPid, postgresPid);
    const serverPeak = memoryOf(serverPid, "VmHWM");
    if (serverPeak === undefined) throw new Error("the server ended while it was measured");
    const cpuSeconds = (name: keyof typeof before) => (after[name] - before[name]) / ticksPerSecond;
    return {
      cpuSeconds: { agent: cpuSeconds("agent"), server: cpuSeconds("server"), postgres: cpuSeconds("postgres") },
      peakBytes: { agent: agentPeak, server: serverPeak, postgres: postgresPeak },
    };
  };
}

function allTicks(serverPid: number, postgresPid: number): Record<keyof ResourceUse["cpuSeconds"], number> {
  const self = ticksOf(process.pid);
  const server = ticksOf(serverPid);
  const postgres = ticksOf(postgresPid);
  if (!self || !server || !postgres) throw new Error("/proc does not tell what the processes use: this bench runs on Linux only");
  const sum = (pids: number[]) => pids.reduce((ticks, pid) => ticks + wholeTicks(pid), 0);
  return {
    agent: self.ended + sum(agents(serverPid, postgresPid)),
    server: server.own,
    postgres: postgres.own + postgres.ended + sum(childrenOf(postgresPid)),
  };
}

/** 0 for a process that has ended: its parent has its ticks. */
function wholeTicks(pid: number): number {
  const ticks = ticksOf(pid);
  return ticks === undefined ? 0 : ticks.own + ticks.ended;
}

function agents(serverPid: number, postgresPid: number): number[] {
  const own = childrenOf(process.pid).filter((pid) => pid !== serverPid && pid !== postgresPid);
  return own.flatMap((pid) => [pid, ...childrenOf(pid)]);
}

function childrenOf(pid: number): number[] {
  const text = readOfLiving(`/proc/${pid}/task/${pid}/children`);
  return text === undefined ? [] : text.split(" ").filter(Boolean).map(Number);
}

function ticksOf(pid: number): Ticks | undefined {
  const stat = readOfLiving(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // After the name in brackets: utime, stime, cutime and cstime are the 12th to 15th.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [user, system, endedUser, endedSystem] = fields.slice(11, 15).map(Number) as [number, number, number, number];
  return { own: user + system, ended: endedUser + endedSystem };
}

function memoryOf(pid: number, field: "VmHWM" | "RssAnon"): number | undefined {
  const status = readOfLiving(`/proc/${pid}/status`);
  const kiB = status && new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1];
  return kiB === undefined || kiB === "" ? undefined : Number(kiB) * 1024;
}

/** Undefined for a process that is gone. */
function readOfLiving(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}
