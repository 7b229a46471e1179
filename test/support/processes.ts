/** Other processes, through /proc: Linux only. */
import * as fs from "node:fs";

/** Direct children of a process, ended ones that nobody has waited for included. */
export function childrenOf(pid: number): number[] {
  const pids = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((child) => parentOf(child) === pid);
}

/** Highest resident set so far. */
export function peakRssBytes(pid: number): number {
  const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** A process and its children, none forgotten that it was just about to make: it is stopped while they are counted. */
export function signalWithChildren(pid: number, signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
  process.kill(pid, "SIGSTOP");
  for (const child of childrenOf(pid)) send(child, signal);
  process.kill(pid, signal);
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It has ended meanwhile.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}
