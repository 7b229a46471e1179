/** PostgreSQL as a process of its own, that comes back whatever happens to it, as often as that happens. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import { startEmbedded } from "../../src/db/embedded.js";
import { postgresAccount } from "../../src/db/embedded-access.js";
import { findBinaries } from "../../src/db/embedded-binaries.js";
import { createDatabase, migrate } from "../../src/db/migrate.js";
import { type TestDatabase, withClient } from "../support/postgres.js";
import { signalWithChildren } from "../support/processes.js";
import { rememberSecret } from "../support/secrets.js";

const databaseName = "frostline";
const restartMs = 200;
const settings = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  // Two servers' pools, and few more.
  max_connections: "80",
  shared_buffers: "64MB",
  min_wal_size: "32MB",
  max_wal_size: "128MB",
  jit: "off",
  timezone: "UTC",
  // What a crash left of temporary tables is dropped by it.
  autovacuum_naptime: "1s",
};

export class FaultyPostgres {
  readonly port: number;
  /** With direct connections. */
  readonly database: TestDatabase;
  readonly #binary: string;
  readonly #cluster: string;
  #child: ChildProcess;
  #log = "";
  #stopping = false;
  #downMs = 0;
  readonly #watch: Promise<void>;

  private constructor(port: number, [binary, cluster]: [string, string], database: TestDatabase) {
    this.port = port;
    this.#binary = binary;
    this.#cluster = cluster;
    this.database = database;
    this.#child = this.#spawn();
    this.#watch = this.#keepUp();
  }

  /** With a migrated database. */
  static async start(dataDir: string): Promise<FaultyPostgres> {
    const embedded = await startEmbedded({ dataDir, settings });
    try {
      const { port } = embedded;
      const superuserUrl = embedded.url("postgres", databaseName);
      await createDatabase(embedded.url("postgres", "postgres"), databaseName);
      const [ownerUrl, runtimeUrl] = [embedded.url("frostline_owner", databaseName), embedded.url("frostline_runtime", databaseName)];
      for (const url of [superuserUrl, ownerUrl, runtimeUrl]) rememberSecret("a password of PostgreSQL", new URL(url).password);
      await migrate(ownerUrl);
      const files: [string, string] = [path.join(await findBinaries(18), "bin", "postgres"), path.join(dataDir, "postgres", "cluster")];
      await embedded.stop();
      const postgres = new FaultyPostgres(port, files, { name: databaseName, superuserUrl, ownerUrl, runtimeUrl, drop: async () => {} });
      await postgres.untilUp().catch((error) => postgres.stop().then(() => Promise.reject(error)));
      return postgres;
    } finally {
      // Stopped already, unless something failed.
      await embedded.stop();
    }
  }

  /** Changes with a restart. */
  get pid(): number {
    return this.#child.pid as number;
  }

  /** The end of its log, since it was last started. */
  get log(): string {
    return this.#log;
  }

  /** All its processes; it stays away for so long. */
  kill(downMs: number): void {
    this.#downMs = downMs;
    this.#signal("SIGKILL");
  }

  /** As an administrator's fast restart. */
  restart(): void {
    this.#child.kill("SIGINT");
  }

  pause(): () => void {
    const { pid } = this;
    this.#signal("SIGSTOP");
    return () => {
      // It may have been killed meanwhile.
      if (this.pid === pid) this.#signal("SIGCONT");
    };
  }

  async untilUp(): Promise<void> {
    await expect
      .poll(() => withClient(this.database.superuserUrl, () => Promise.resolve(true)).catch((error: Error) => error.message), {
        timeout: 60_000,
        interval: 100,
      })
      .toBe(true);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#child.kill("SIGINT");
    const late = setTimeout(() => this.#signal("SIGKILL"), 20_000);
    await this.#watch.finally(() => clearTimeout(late));
  }

  #spawn(): ChildProcess {
    const args = Object.entries({ ...settings, port: String(this.port) }).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const child = spawn(this.#binary, ["-D", this.#cluster, ...args], {
      stdio: ["ignore", "ignore", "pipe"],
      cwd: "/",
      ...postgresAccount(),
    });
    child.stderr?.on("data", (data: Buffer) => {
      this.#log = (this.#log + data).slice(-65_536);
    });
    return child;
  }

  async #keepUp(): Promise<void> {
    for (;;) {
      if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
      if (this.#stopping) return;
      await delay(Math.max(restartMs, this.#downMs));
      this.#downMs = 0;
      if (this.#stopping) return;
      // A start on a full disk leaves it, and no later one goes on with it: an administrator would do the same.
      if (/lock file "postmaster.pid" is empty/.test(this.#log)) await fs.rm(path.join(this.#cluster, "postmaster.pid"), { force: true });
      this.#log = "";
      this.#child = this.#spawn();
    }
  }

  #signal(signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    try {
      signalWithChildren(this.pid, signal);
    } catch (error) {
      // It has just ended, and is about to be started again.
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}
