/** What an operation is measured on: a database of its own, and the built server as a process. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import pg from "pg";
import type { EmbeddedPostgres } from "../src/db/embedded.js";
import { createDatabase, migrate } from "../src/db/migrate.js";
import { createPools } from "../src/db/pool.js";
import { bootstrap } from "../src/tenancy/tenants.js";
import { verify } from "../src/verify/verify.js";
import { nodeArguments } from "../test/support/program.js";
import type { Budget } from "./budgets.js";
import type { Operation } from "./operation.js";
import { type Profiling, profiling } from "./profiles.js";
import type { RawCopy } from "./yardsticks.js";

export const packageRoot = fileURLToPath(new URL("..", import.meta.url));

/** What a run of the bench was asked for. */
export interface BenchContext {
  postgres: EmbeddedPostgres;
  /** A scratch directory. */
  dir: string;
  files: number;
  runs: number;
  seconds: number;
  /** Where profiles of server and agents are written. */
  profileDir: string | undefined;
  /** The tree of `walk` stays for the next run. */
  keepTree: boolean;
  /** Results of benches that ran before, by name. */
  earlier: Map<string, BenchResult>;
  /** Of `files` rows. */
  rawCopy: RawCopy;
}

/** What a bench found. */
export interface BenchResult {
  operations: Operation[];
  budgets: Budget[];
  /** What fits in neither, for --json. */
  more?: unknown;
}

export interface BenchServer {
  address: string;
  key: string;
  pid: number;
  close(): Promise<void>;
}

export interface Bed {
  server: BenchServer;
  postgresPid: number;
  /** Sees all tenants' rows. */
  superuserUrl: string;
  look: pg.Client;
}

/**
 * Work on a migrated and empty database with a server. Throws when an invariant of the stored data is broken at the end:
 * a fast wrong answer is no figure. `name` is the database's and the profiles'.
 */
export async function withBed<T>(context: BenchContext, name: string, work: (bed: Bed) => Promise<T>): Promise<T> {
  const { postgres, profileDir } = context;
  const postgresUrl = postgres.url("postgres", "postgres");
  await createDatabase(postgresUrl, name);
  await migrate(postgres.url("frostline_owner", name));
  const runtimeUrl = postgres.url("frostline_runtime", name);
  const superuserUrl = postgres.url("postgres", name);
  const look = await openClient(superuserUrl);
  try {
    const server = await startBenchServer(runtimeUrl, profiling(profileDir, `server-${name}`));
    const result = await work({ server, postgresPid: postgres.pid, superuserUrl, look }).finally(server.close);
    // With --explain: plans of the proof are nobody's figures.
    await look.query(`ALTER DATABASE ${pg.escapeIdentifier(name)} SET auto_explain.log_min_duration = -1`);
    await assertSound(runtimeUrl);
    return result;
  } finally {
    await look.end();
    const admin = await openClient(postgresUrl);
    await admin.query(`DROP DATABASE ${pg.escapeIdentifier(name)} WITH (FORCE)`).finally(() => admin.end());
  }
}

async function openClient(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  return client;
}

/** `frostline serve` on the bench's database, with the platform tenant's admin key. */
async function startBenchServer(runtimeUrl: string, { args, env }: Profiling): Promise<BenchServer> {
  const pools = createPools(runtimeUrl, { queryPoolMax: 2, ingestPoolMax: 1, onIdleError: () => {} });
  const { adminKey } = await bootstrap(pools.query).finally(() => pools.end());
  const child = spawn(process.execPath, [...nodeArguments(...args), "serve"], {
    env: { ...process.env, ...env, DATABASE_URL: runtimeUrl, FROSTLINE_LISTEN: "127.0.0.1:0", FROSTLINE_LOG_LEVEL: "warn" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const address = await firstAddress(child);
  const close = async () => {
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    await exited;
  };
  return { address, key: adminKey, pid: child.pid as number, close };
}

/** What it prints later is read and thrown away, so that it never blocks. */
function firstAddress(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = "";
    child.stdout?.on("data", (data) => {
      output += data;
      const address = /127\.0\.0\.1:\d+/.exec(output)?.[0];
      if (address === undefined) return;
      child.stdout?.removeAllListeners("data").resume();
      resolve(address);
    });
    child.once("exit", (code) => reject(new Error(`the server ended with ${code} before it listened: ${output}`)));
  });
}

async function assertSound(runtimeUrl: string): Promise<void> {
  const pools = createPools(runtimeUrl, { queryPoolMax: 2, ingestPoolMax: 1, onIdleError: () => {} });
  try {
    for await (const { invariant, rows } of verify(pools.query)) throw new Error(`${invariant} is broken: ${rows.join("; ")}`);
  } finally {
    await pools.end();
  }
}
