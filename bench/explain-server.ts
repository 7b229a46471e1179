/** The bench's PostgreSQL started again with auto_explain, and what it logs in a file. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import pg from "pg";
import type { EmbeddedPostgres } from "../src/db/embedded.js";
import { postgresAccount } from "../src/db/embedded-access.js";
import { findBinaries } from "../src/db/embedded-binaries.js";

/** Every statement is timed, those in functions too: what else is measured in the run is slower for it. */
const explainSettings = {
  session_preload_libraries: "auto_explain",
  "auto_explain.log_min_duration": "0",
  "auto_explain.log_nested_statements": "on",
  "auto_explain.log_analyze": "on",
  "auto_explain.log_buffers": "on",
  "auto_explain.log_wal": "on",
  // Chunks are megabytes, and names of files nobody's business.
  "auto_explain.log_parameter_max_length": "0",
  logging_collector: "on",
  log_destination: "jsonlog",
  log_directory: "log",
  log_filename: "plans",
  log_rotation_size: "0",
};

export interface ExplainingPostgres extends EmbeddedPostgres {
  /** A JSON object a line, there until the cluster is removed. */
  logFile: string;
}

/**
 * Stops `postgres`, whose own start reads the log to see that it serves, and starts its cluster with the same settings and those above: messages of
 * several backends stay whole only in the files of the log collector.
 */
export async function startExplaining(postgres: EmbeddedPostgres): Promise<ExplainingPostgres> {
  const { cluster, settings } = await readSettings(postgres.url("postgres", "postgres"));
  await postgres.stop();
  const pgCtl = path.join(await findBinaries(18), "bin", "pg_ctl");
  const options = Object.entries({ ...settings, ...explainSettings }).map(([name, value]) => `-c ${name}='${value}'`);
  await run(pgCtl, ["start", "-w", "-D", cluster, "-o", options.join(" ")]);
  const [pid] = (await fs.readFile(path.join(cluster, "postmaster.pid"), "utf8")).split("\n");
  return {
    port: postgres.port,
    pid: Number(pid),
    url: postgres.url,
    stop: () => run(pgCtl, ["stop", "-w", "-m", "fast", "-D", cluster]),
    logFile: path.join(cluster, "log", "plans.json"),
  };
}

/** Those that are not in the cluster's files. */
async function readSettings(url: string): Promise<{ cluster: string; settings: Record<string, string> }> {
  const look = new pg.Client({ connectionString: url });
  await look.connect();
  try {
    const { rows } = await look.query<{ name: string; value: string }>(
      "SELECT name, current_setting(name) AS value FROM pg_settings WHERE source = 'command line'",
    );
    const { rows: places } = await look.query<{ data_directory: string }>("SHOW data_directory");
    const settings = Object.fromEntries(rows.map(({ name, value }) => [name, value]));
    return { cluster: (places[0] as { data_directory: string }).data_directory, settings };
  } finally {
    await look.end();
  }
}

async function run(command: string, args: string[]): Promise<void> {
  const child = spawn(command, args, { stdio: "ignore", cwd: "/", ...postgresAccount() });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`${command} ${args[0]} ended with ${code}`);
}
