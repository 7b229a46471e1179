/** One process a data directory: its lock, and what a killed one left running. */
import { execFile } from "node:child_process";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

const stopPollMs = 50;
const fastShutdownMs = 30_000;
/** After SIGQUIT; PostgreSQL itself kills what is left after 5 s. */
const immediateShutdownMs = 10_000;

interface Holder {
  pid: number;
  /** Tells a process from a later one with the same pid, which is usual in containers; empty where the system does not say. */
  started: string;
}

/** Takes the data directory for this process. Throws when a living process has it. Returns what gives it back. */
export async function lockData(dir: string): Promise<() => Promise<void>> {
  const lock = path.join(dir, "lock.json");
  const me: Holder = { pid: process.pid, started: await processStart(process.pid) };
  const mine = `${lock}.${process.pid}`;
  await fs.rm(mine, { force: true });
  await fs.writeFile(mine, JSON.stringify(me), { mode: 0o600 });
  try {
    // link() fails if the lock exists, and shows it to others only with its content.
    while (!(await linkUnlessThere(mine, lock))) await removeIfStale(lock, dir);
  } finally {
    await fs.rm(mine, { force: true });
  }
  return () => fs.rm(lock, { force: true });
}

async function linkUnlessThere(from: string, to: string): Promise<boolean> {
  try {
    await fs.link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Moves the lock aside before judging it, so that of two processes that find it stale only one removes it. */
async function removeIfStale(lock: string, dir: string): Promise<void> {
  const aside = `${lock}.${process.pid}.old`;
  const moved = await fs.rename(lock, aside).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );
  if (!moved) return;
  const holder = JSON.parse(await fs.readFile(aside, "utf8")) as Holder;
  if (await lives(holder)) {
    await linkUnlessThere(aside, lock);
    await fs.rm(aside);
    throw new Error(`The data in ${dir} is in use by process ${holder.pid}. Stop that one, or set FROSTLINE_DATA to another directory.`);
  }
  await fs.rm(aside);
}

/** Whether a living process has the data directory. */
export async function isLocked(dir: string): Promise<boolean> {
  const text = await fs.readFile(path.join(dir, "lock.json"), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  return text !== undefined && lives(JSON.parse(text) as Holder);
}

async function lives(holder: Holder): Promise<boolean> {
  return isAlive(holder.pid) && (await processStart(holder.pid)) === holder.started;
}

/** Stops a PostgreSQL that runs on `cluster` although the process that started it is gone. Call with the lock held. */
export async function stopOrphan(cluster: string): Promise<void> {
  const pid = await readPostmasterPid(cluster);
  if (pid === undefined || !(await isPostmasterOf(pid, cluster))) return;
  process.kill(pid, "SIGINT");
  if (await goneWithin(pid, cluster, fastShutdownMs)) return;
  process.kill(pid, "SIGQUIT");
  if (await goneWithin(pid, cluster, immediateShutdownMs)) return;
  throw new Error(`A PostgreSQL left over from an earlier run (process ${pid}) does not stop. Stop it by hand, then start again.`);
}

async function readPostmasterPid(cluster: string): Promise<number | undefined> {
  const text = await fs.readFile(path.join(cluster, "postmaster.pid"), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const pid = Number.parseInt(text, 10);
  return Number.isNaN(pid) ? undefined : pid;
}

async function goneWithin(pid: number, cluster: string, limitMs: number): Promise<boolean> {
  for (const end = Date.now() + limitMs; Date.now() < end; await delay(stopPollMs)) {
    if (!(await isPostmasterOf(pid, cluster))) return true;
  }
  return false;
}

/** By its command line: the pid may belong to another program by now, and a zombie's command line is empty. */
async function isPostmasterOf(pid: number, cluster: string): Promise<boolean> {
  return isAlive(pid) && (await processCommand(pid)).includes(cluster);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: alive, and another user's.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function processCommand(pid: number): Promise<string> {
  if (process.platform === "linux") return readProc(pid, "cmdline");
  return process.platform === "win32" ? "" : ps(pid, "command=");
}

async function processStart(pid: number): Promise<string> {
  if (process.platform === "win32") return "";
  if (process.platform !== "linux") return ps(pid, "lstart=");
  const boot = (await fs.readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  // Field 22, counted from behind the command's name, which may hold blanks.
  const fields = (await readProc(pid, "stat")).split(") ").at(-1)?.split(" ") ?? [];
  return `${boot} ${fields[19] ?? ""}`;
}

async function readProc(pid: number, file: string): Promise<string> {
  return fs.readFile(`/proc/${pid}/${file}`, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ESRCH") return "";
    throw error;
  });
}

async function ps(pid: number, format: string): Promise<string> {
  // ps fails when there is no such process.
  return promisify(execFile)("ps", ["-o", format, "-p", String(pid)]).then(
    ({ stdout }) => stdout.trim(),
    () => "",
  );
}
