/** Brings a database to the newest schema, and sets up roles and databases where it may. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { runner } from "node-pg-migrate";
import pg from "pg";
import { DomainError } from "../errors.js";

const migrationsDir = fileURLToPath(new URL("../../migrations", import.meta.url));
/** Any constant will do, as long as every frostline uses the same. */
const migrationLock = 4_701_206_001;

/**
 * Runs what is outstanding in `dir`; `url` connects as the owner. Waits for another migration to end. Returns the names of those run.
 * PERMISSION_DENIED (NOT_OWNER) for any other role.
 */
export async function migrate(url: string, dir = migrationsDir): Promise<string[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await assertOwner(client);
    await client.query("SELECT pg_advisory_lock($1)", [migrationLock]);
    // A policy then raises an error instead of silently hiding rows from an UPDATE.
    // The bodies of functions would be planned under it, and refused: they are not looked at until they run.
    await client.query("SET row_security = off; SET check_function_bodies = off");
    const done = await runner({
      dbClient: client,
      dir: path.join(dir, "[0-9]*.sql"),
      useGlob: true,
      direction: "up",
      migrationsTable: "schema_migration",
      noLock: true,
      singleTransaction: true,
      log: () => {},
    });
    return done.map((migration) => migration.name);
  } finally {
    await client.end();
  }
}

/** A superuser's views and functions would see every tenant's rows, so not even one of those may stand in for the owner. */
async function assertOwner(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ role: string; database: string; fit: boolean }>(`
    SELECT r.rolname AS role, d.datname AS database,
      NOT r.rolsuper AND NOT r.rolbypassrls AND pg_has_role(d.datdba, 'USAGE') AND has_schema_privilege('public', 'CREATE') AS fit
    FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = current_database()`);
  const [found] = rows;
  if (found?.fit) return;
  throw new DomainError(
    "PERMISSION_DENIED",
    `Role ${found?.role} may not migrate database ${found?.database}. Connect as the role that owns the database and may create in its schema public, neither a superuser nor with BYPASSRLS.`,
    { reason: "NOT_OWNER" },
  );
}

/** As a superuser: the roles, and a database of the owner's. */
export async function createDatabase(superuserUrl: string, database: string): Promise<void> {
  const client = new pg.Client({ connectionString: superuserUrl });
  await client.connect();
  try {
    await client.query(await fs.readFile(path.join(migrationsDir, "roles.sql"), "utf8"));
    const { rowCount } = await client.query("SELECT FROM pg_database WHERE datname = $1", [database]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${pg.escapeIdentifier(database)} OWNER frostline_owner`);
  } finally {
    await client.end();
  }
  // PostgreSQL 14 lets PUBLIC create in public, and makes nobody its owner but the superuser.
  const own = new pg.Client({ connectionString: Object.assign(new URL(superuserUrl), { pathname: `/${database}` }).href });
  await own.connect();
  try {
    await own.query("ALTER SCHEMA public OWNER TO frostline_owner; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
  } finally {
    await own.end();
  }
}
