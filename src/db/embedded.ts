/**
 * A real PostgreSQL from npm binaries, for development, demo and tests.
 *
 * Life of the server: starting -> serving -> (crashed -> serving)* -> stopped. A crash of PostgreSQL itself is answered by
 * another start on the same port; a crash of this process leaves it running, and the next start on its data stops it first.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { createServer } from "node:net";
import * as path from "node:path";
import { finished } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { type DataDirectories, exists, makeDataDirectories, postgresAccount, writePrivateFile } from "./embedded-access.js";
import { type EmbeddedVersion, findBinaries } from "./embedded-binaries.js";
import { lockData, stopOrphan } from "./embedded-lock.js";
import { setUpRoles } from "./roles.js";

export type { EmbeddedVersion } from "./embedded-binaries.js";
export { packageRoot } from "./roles.js";

const fastShutdownMs = 30_000;
/** Backends of a killed postmaster hold its shared memory until they notice; a start within that time fails. */
const startRetryMs = 250;
const startDeadlineMs = 60_000;
const passingStartFailure = /pre-existing shared memory block|lock file "postmaster.pid" already exists/;
/** More crashes than this within the window, and PostgreSQL is left down. */
const restartLimit = 5;
const restartWindowMs = 60_000;
const logTailChars = 16_384;
const lastWordsMs = 500;

export interface EmbeddedOptions {
  /** Where everything lives; made when missing. As root possibly elsewhere, see makeDataDirectories. */
  dataDir: string;
  /** Default 18. */
  version?: EmbeddedVersion;
  /** Settings for postgresql.conf, on top of the defaults. */
  settings?: Record<string, string>;
  /** Told whenever PostgreSQL ends without having been asked to. */
  onExit?: (exit: EmbeddedExit) => void;
}

export interface EmbeddedExit {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** The end of PostgreSQL's own log. */
  log: string;
  /** False after too many crashes, or when the last restart failed: it stays down. */
  restarts: boolean;
}

/** Roles of the embedded server, see migrations/roles.sql. */
export type EmbeddedRole = "postgres" | "frostline_owner" | "frostline_runtime";

export interface EmbeddedPostgres {
  port: number;
  /** Changes with a restart. */
  readonly pid: number;
  /** Connection string with the role's password. */
  url(role: EmbeddedRole, database: string): string;
  /** Fast shutdown, an immediate one after 30 s; resolves once the process is gone. */
  stop(): Promise<void>;
}

type Passwords = Record<EmbeddedRole, string>;

interface Installation {
  native: string;
  cluster: string;
  settings: Record<string, string>;
}

interface Running {
  child: ChildProcess;
  exited: Promise<[number | null, NodeJS.Signals | null]>;
  log(): string;
}

/**
 * Starts PostgreSQL, initialising dataDir first if it is new, and sets up the three roles.
 * Throws when another living process uses the data, or the binaries are not installed.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const native = await findBinaries(options.version ?? 18);
  const dirs = await makeDataDirectories(options.dataDir);
  const unlock = await lockData(dirs.own);
  try {
    const cluster = path.join(dirs.postgres, "cluster");
    await stopOrphan(cluster);
    const passwords = await initialise(native, dirs, cluster);
    const port = await freePort();
    const installation: Installation = { native, cluster, settings: { ...defaultSettings(port), ...options.settings } };
    const supervisor = new Supervisor(installation, await launch(installation), options.onExit);
    const url = (role: EmbeddedRole, database: string) =>
      `postgres://${role}:${passwords[role]}@127.0.0.1:${port}/${encodeURIComponent(database)}`;
    const stop = () => supervisor.stop().finally(unlock);
    await setUpRoles(url("postgres", "postgres"), passwords).catch(async (error) => {
      await stop();
      throw error;
    });
    return {
      port,
      get pid() {
        return supervisor.pid;
      },
      url,
      stop,
    };
  } catch (error) {
    await unlock();
    throw error;
  }
}

function defaultSettings(port: number): Record<string, string> {
  return {
    port: String(port),
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: "100",
    shared_buffers: "512MB",
    max_wal_size: "4GB",
    jit: "off",
    timezone: "UTC",
    log_timezone: "UTC",
  };
}

/** The passwords of a cluster that is made first if it is not there whole. */
async function initialise(native: string, dirs: DataDirectories, cluster: string): Promise<Passwords> {
  const file = path.join(dirs.own, "passwords.json");
  if ((await exists(path.join(cluster, "PG_VERSION"))) && (await exists(file))) {
    return JSON.parse(await fs.readFile(file, "utf8")) as Passwords;
  }
  if (await exists(path.join(cluster, "PG_VERSION"))) {
    throw new Error(
      `The passwords of the database in ${dirs.own} are gone (passwords.json). Restore that file, or start over in an empty FROSTLINE_DATA.`,
    );
  }
  const password = () => randomBytes(24).toString("base64url");
  const passwords: Passwords = { postgres: password(), frostline_owner: password(), frostline_runtime: password() };
  // Made beside its place and renamed, so that a cluster that is there is whole.
  const partial = `${cluster}.partial`;
  const passwordFile = path.join(dirs.postgres, "password.partial");
  await fs.rm(partial, { recursive: true, force: true });
  await writePrivateFile(passwordFile, passwords.postgres);
  const { uid, gid } = postgresAccount();
  if (uid !== undefined && gid !== undefined) await fs.chown(passwordFile, uid, gid);
  await initdb(native, partial, passwordFile).finally(() => fs.rm(passwordFile));
  await writePrivateFile(file, JSON.stringify(passwords));
  await fs.rename(partial, cluster);
  return passwords;
}

async function initdb(native: string, cluster: string, passwordFile: string): Promise<void> {
  const args = ["-D", cluster, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", passwordFile, "-E", "UTF8", "--locale=C"];
  const child = spawn(path.join(native, "bin", "initdb"), args, { stdio: ["ignore", "pipe", "pipe"], cwd: "/", ...postgresAccount() });
  const log = collectTail(child);
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`PostgreSQL's initdb failed (exit ${code}):\n${log()}`);
}

/** Starts the server and waits until it accepts connections. */
async function launch(installation: Installation): Promise<Running> {
  const args = [
    "-D",
    installation.cluster,
    ...Object.entries(installation.settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  ];
  for (const end = Date.now() + startDeadlineMs; ; await delay(startRetryMs)) {
    const child = spawn(path.join(installation.native, "bin", "postgres"), args, {
      stdio: ["ignore", "ignore", "pipe"],
      cwd: "/",
      // A Ctrl-C in the terminal is for us: we drain first, then stop the database.
      detached: process.platform !== "win32",
      ...postgresAccount(),
    });
    const running: Running = { child, exited: exitOf(child), log: collectTail(child) };
    if (await isReady(running)) return running;
    if (!passingStartFailure.test(running.log()) || Date.now() > end) {
      throw new Error(`PostgreSQL ended at its start (exit ${child.exitCode}):\n${running.log()}`);
    }
  }
}

/** Its exit, once its last words are read: backends that outlive a killed postmaster keep the pipe open, hence the limit. */
async function exitOf(child: ChildProcess): Promise<[number | null, NodeJS.Signals | null]> {
  const exit = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
  if (child.stderr !== null) await Promise.race([finished(child.stderr), delay(lastWordsMs, undefined, { ref: false })]);
  return exit;
}

/** True once it accepts connections, false when it ended before. */
function isReady(running: Running): Promise<boolean> {
  return new Promise((resolve, reject) => {
    running.exited.then(() => resolve(false), reject);
    const look = () => {
      if (!running.log().includes("database system is ready to accept connections")) return;
      running.child.stderr?.off("data", look);
      resolve(true);
    };
    running.child.stderr?.on("data", look);
  });
}

/** Reads what a child prints, so that it never blocks, and keeps the end. */
function collectTail(child: ChildProcess): () => string {
  let tail = "";
  const keep = (data: Buffer) => {
    tail = (tail + data.toString()).slice(-logTailChars);
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  return () => tail;
}

/** Keeps PostgreSQL up until it is told to stop. */
class Supervisor {
  readonly #installation: Installation;
  readonly #onExit: (exit: EmbeddedExit) => void;
  readonly #crashTimesMs: number[] = [];
  #running: Running;
  #stopping = false;
  /** Ends when PostgreSQL is down for good. */
  readonly #watch: Promise<void>;

  constructor(installation: Installation, running: Running, onExit: (exit: EmbeddedExit) => void = () => {}) {
    this.#installation = installation;
    this.#running = running;
    this.#onExit = onExit;
    this.#watch = this.#keepUp();
  }

  get pid(): number {
    return this.#running.child.pid as number;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#running.child.kill("SIGINT");
    const late = setTimeout(() => this.#running.child.kill("SIGQUIT"), fastShutdownMs);
    await this.#watch.finally(() => clearTimeout(late));
  }

  async #keepUp(): Promise<void> {
    for (;;) {
      const { exited, log } = this.#running;
      const [code, signal] = await exited;
      if (this.#stopping) return;
      const restarts = this.#mayRestart();
      this.#onExit({ code, signal, log: log(), restarts });
      if (!restarts) return;
      const next = await launch(this.#installation).catch((error: Error) => error);
      if (next instanceof Error) {
        this.#onExit({ code: null, signal: null, log: next.message, restarts: false });
        return;
      }
      this.#running = next;
      if (this.#stopping) next.child.kill("SIGINT");
    }
  }

  #mayRestart(): boolean {
    const now = Date.now();
    this.#crashTimesMs.push(now);
    return this.#crashTimesMs.filter((timeMs) => timeMs > now - restartWindowMs).length <= restartLimit;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
