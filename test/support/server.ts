/** Frostline servers for tests: in this process, or as the built program in one of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { loadConfig } from "../../src/config.js";
import { createLogger } from "../../src/log.js";
import type { Metrics } from "../../src/metrics/metrics.js";
import { startServer } from "../../src/server/start.js";
import { createTestDatabase, type TestDatabase } from "./postgres.js";
import { program } from "./program.js";
import { createTestTenant, type TestTenant } from "./tenant.js";
import { assertNoSecrets, watchErrors, watchedLog, watchOutput } from "./watched-output.js";

export interface ServerOptions {
  /** Serve this one (several servers may share it); without it, a fresh one that goes with the server. */
  database?: TestDatabase;
  /** Act for this tenant; without it, a fresh one. */
  tenant?: TestTenant;
  /** On top of the defaults. */
  env?: Record<string, string>;
}

export interface TestServer extends TestTenant {
  /** host:port */
  address: string;
  database: TestDatabase;
  close(): Promise<void>;
}

export interface LocalServer extends TestServer {
  /** Calls whose stream is still open. */
  openCalls(): number;
  /** Of the port for probes and metrics; empty without FROSTLINE_HTTP_LISTEN. */
  httpUrl: string;
  metrics: Metrics;
}

export interface SpawnedServer extends TestServer {
  pid: number;
  /** What it has written to stdout and stderr so far. */
  output(): string;
  /** Ends it at once, as a crash would; resolves when the process is gone. The database stays. */
  kill(): Promise<void>;
  /** Resolves with the exit status, or the signal's name, when it ends of itself. */
  exited: Promise<number | string>;
}

/** A server in this process, on a port of its own. `close` rejects when it told a secret, see watched-output.ts. */
export async function startTestServer(options: ServerOptions = {}): Promise<LocalServer> {
  const { database, tenant, release } = await surroundings(options);
  const output = watchOutput();
  const unwatch = watchErrors(output);
  try {
    const config = loadConfig(environment(database, options.env));
    const server = await startServer({ config, log: createLogger("trace", { destination: watchedLog(output, config.logLevel) }) });
    const { address, httpUrl = "", metrics, openCalls } = server;
    const close = async () => {
      try {
        await server.close();
        output.search("a metric", await metrics.registry.metrics());
      } finally {
        unwatch();
        await release();
      }
      output.assertNone();
    };
    return { ...tenant, address, httpUrl, metrics, database, openCalls, close };
  } catch (error) {
    unwatch();
    await release();
    throw error;
  }
}

/** The built program in a process of its own, for tests that kill it. Resolves once it listens; `close` and `kill` reject as above. */
export async function spawnServer(options: ServerOptions = {}): Promise<SpawnedServer> {
  const { database, tenant, release } = await surroundings(options);
  const child = spawn(program, ["serve"], {
    // All that it can log is searched.
    env: { ...process.env, ...environment(database, { FROSTLINE_LOG_LEVEL: "trace", ...options.env }) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit").then(([code, signal]) => (code ?? signal) as number | string);
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => (log += data));
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    await exited;
    assertNoSecrets("a server's output", log);
  };
  try {
    const address = await untilListening(child, () => log);
    const close = () => end("SIGTERM").finally(release);
    return {
      ...tenant,
      address,
      database,
      pid: child.pid as number,
      output: () => log,
      exited,
      close,
      kill: () => end("SIGKILL"),
    };
  } catch (error) {
    child.kill("SIGKILL");
    await exited;
    await release();
    throw error;
  }
}

async function surroundings(options: ServerOptions) {
  const database = options.database ?? (await createTestDatabase());
  const tenant = options.tenant ?? (await createTestTenant(database));
  const release = async () => {
    if (options.database === undefined) await database.drop();
  };
  return { database, tenant, release };
}

function environment(database: TestDatabase, env: Record<string, string> = {}): Record<string, string> {
  return { DATABASE_URL: database.runtimeUrl, FROSTLINE_LISTEN: "127.0.0.1:0", FROSTLINE_LOG_LEVEL: "warn", ...env };
}

/** Its first line on stdout names the address; ending before that is an error with all it said. */
function untilListening(child: ChildProcess, output: () => string): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => reject(new Error(`The server ended before it listened (${code ?? signal}):\n${output()}`)));
    child.stdout?.on("data", () => {
      const address = /^Listening on (\S+)\n/m.exec(output())?.[1];
      if (address !== undefined) resolve(address);
    });
  });
}
