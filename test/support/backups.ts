/** Backups of a test's database, and databases that are restored from them. */
import { execFile, spawnSync } from "node:child_process";
import * as path from "node:path";
import { promisify } from "node:util";
import { inject } from "vitest";
import { createEmptyDatabase, type TestDatabase, withClient } from "./postgres.js";

const run = promisify(execFile);
const timeoutMs = 60_000;

/** Whether PostgreSQL's own clients, of version 14 or newer, are missing; says so loudly. With FROSTLINE_TEST_CLIENTS=required it throws. */
export function missingPostgresClients(): boolean {
  const { stdout } = spawnSync("pg_dump", ["--version"], { encoding: "utf8" });
  const major = Number(/ (\d+)/.exec(stdout ?? "")?.[1] ?? 0);
  if (major >= 14) return false;
  const problem = "PostgreSQL's own clients (pg_dump, pg_restore, psql), 14 or newer, are not installed";
  if (process.env.FROSTLINE_TEST_CLIENTS === "required") throw new Error(`${problem}.`);
  console.warn(`\n!!! SKIPPED: ${problem}.\n`);
  return true;
}

/** A role as docs/backup.md makes it; returns the URL that it dumps the database by. */
export async function createBackupRole(database: TestDatabase): Promise<string> {
  await withClient(database.superuserUrl, (client) =>
    client.query("CREATE ROLE frostline_backup LOGIN BYPASSRLS PASSWORD 'for-tests'; GRANT pg_read_all_data TO frostline_backup"),
  );
  return Object.assign(new URL(database.superuserUrl), { username: "frostline_backup", password: "for-tests" }).href;
}

/** pg_dump, while others work in the database. */
export async function dump(url: string, directory: string): Promise<string> {
  const file = path.join(directory, "frostline.dump");
  await run("pg_dump", ["--format=custom", `--file=${file}`, url], { timeout: timeoutMs });
  return file;
}

/** Into a new database on the run's server. */
export async function restore(file: string): Promise<TestDatabase> {
  const database = await createEmptyDatabase(inject("cluster"));
  await run("pg_restore", ["--exit-on-error", `--dbname=${database.superuserUrl}`, file], { timeout: timeoutMs });
  return database;
}
