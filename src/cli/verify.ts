/** `verify`: whether the stored data is what it must be. */
import * as path from "node:path";
import { type Command, Option } from "commander";
import type { Violation } from "../verify/verify.js";
import { action, type Context } from "./command.js";
import { databaseUrl } from "./database-url.js";
import { type ExitStatus, Interrupted, UsageError } from "./errors.js";
import { count, escaped, safeJson } from "./format.js";
import { catchInterrupt } from "./interrupt.js";

export function addVerify(program: Command): void {
  program
    .command("verify")
    .description("prove every invariant of the stored data of all tenants; reads whole tables, writes nothing")
    .addOption(
      new Option("--url <url>", "connects as frostline_runtime (default: the embedded database, running or not)").env("DATABASE_URL"),
    )
    .action(action(verifyAll));
}

async function verifyAll({ global, output }: Context, options: { url?: string }): Promise<ExitStatus> {
  const { default: pg } = await import("pg");
  const { assertRuntimeRole } = await import("../db/roles.js");
  const { listTenants } = await import("../tenancy/tenants.js");
  const { invariants } = await import("../verify/invariants.js");
  const { verify } = await import("../verify/verify.js");
  const interrupt = catchInterrupt();
  const database = await openDatabase(options.url, path.resolve(global.data));
  const pool = new pg.Pool({
    connectionString: database.url,
    max: 1,
    connectionTimeoutMillis: 10_000,
    application_name: "frostline-verify",
  });
  // A connection that is lost is told by its statement; the last one may still be closing when the database stops.
  pool.on("error", () => {});
  pool.on("connect", (client) => {
    client.on("error", () => {});
    // A statement may take minutes: an interruption ends the connection under it.
    interrupt.signal.addEventListener("abort", () => void client.end());
  });
  try {
    interrupt.signal.throwIfAborted();
    await assertRuntimeRole(pool);
    const tenants = await listTenants(pool);
    let broken = 0;
    for await (const violation of verify(pool)) {
      broken += 1;
      await output.print(output.json ? [safeJson(JSON.stringify(violation))] : violationLines(violation));
    }
    const tenantWords = tenants.length === 1 ? "1 tenant" : `${count(tenants.length)} tenants`;
    if (broken > 0) output.note(`${count(broken)} broken; ${invariants.length} invariants were looked at for ${tenantWords}.`);
    else if (output.json) output.note(allHold(invariants.length, tenantWords));
    else await output.print([allHold(invariants.length, tenantWords)]);
    return broken === 0 ? 0 : 1;
  } catch (error) {
    if (interrupt.signal.aborted) throw new Interrupted("Stopped before every invariant was looked at.");
    throw error;
  } finally {
    await pool.end();
    await database.stop();
    interrupt.dispose();
  }
}

interface OpenDatabase {
  url: string;
  /** Stops what was started for this. */
  stop(): Promise<void>;
}

/** The one named; else the embedded one, which is started when no server runs it. Throws UsageError when there is neither. */
async function openDatabase(url: string | undefined, dataDir: string): Promise<OpenDatabase> {
  if (url) return { url: databaseUrl(url), stop: async () => {} };
  const { findEmbedded } = await import("../db/embedded-running.js");
  const server = await import("../server/database.js");
  const found = await findEmbedded(dataDir);
  if (found.state === "none") {
    throw new UsageError(
      `There is no database in ${dataDir}. Set DATABASE_URL or pass --url, as frostline_runtime; or name the data of a local server with --data.`,
    );
  }
  if (found.state === "running") return { url: found.url("frostline_runtime", server.embeddedDatabase), stop: async () => {} };
  const { loadConfig } = await import("../config.js");
  const { createLogger } = await import("../log.js");
  const config = loadConfig({ FROSTLINE_DATA: dataDir });
  return server.openDatabase(config, createLogger("warn"), () => {});
}

function violationLines({ tenantCode, invariant, holds, rows }: Violation): string[] {
  return [`BROKEN  ${tenantCode}  ${invariant}: ${holds}`, ...rows.map((row) => `        ${escaped(row)}`)];
}

function allHold(invariants: number, tenantWords: string): string {
  return `All ${invariants} invariants hold for ${tenantWords}.`;
}
