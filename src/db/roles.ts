/** The database roles: setting them up, and refusing to serve as one that may do too much. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";

/** Root of this package: the directory that has migrations/. */
export const packageRoot = fileURLToPath(new URL("../..", import.meta.url));
const migrationsDir = path.join(packageRoot, "migrations");

/** As a superuser: makes the roles if they are missing, and gives those named their passwords. */
export async function setUpRoles(superuserUrl: string, passwords: Record<string, string>): Promise<void> {
  const client = new pg.Client({ connectionString: superuserUrl });
  await client.connect();
  try {
    await client.query(await fs.readFile(path.join(migrationsDir, "roles.sql"), "utf8"));
    for (const [role, password] of Object.entries(passwords)) {
      await client.query(`ALTER ROLE ${pg.escapeIdentifier(role)} PASSWORD ${pg.escapeLiteral(password)}`);
    }
  } finally {
    await client.end();
  }
}

/**
 * Throws unless the pool's role is fit to serve: no superuser, no BYPASSRLS, no way to become the tables' owner or the
 * maintenance role, and a schema of exactly this build's migrations.
 */
export async function assertRuntimeRole(pool: pg.Pool): Promise<void> {
  await assertSchemaVersion(pool);
  const role = await readRole(pool);
  const use = "Connect as frostline_runtime (see migrations/roles.sql).";
  if (role.superuser) throw new Error(`The database role ${role.name} is a superuser: tenants would not be kept apart. ${use}`);
  if (role.bypasses_rls) throw new Error(`The database role ${role.name} has BYPASSRLS: tenants would not be kept apart. ${use}`);
  if (role.owns) throw new Error(`The database role ${role.name} owns the tables, or is a member of their owner. ${use}`);
  if (role.maintains)
    throw new Error(`The database role ${role.name} is a member of frostline_maintenance, which sees every tenant. ${use}`);
}

interface RoleFacts {
  name: string;
  superuser: boolean;
  bypasses_rls: boolean;
  owns: boolean;
  maintains: boolean;
}

async function readRole(pool: pg.Pool): Promise<RoleFacts> {
  const { rows } = await pool.query<RoleFacts>(`
    SELECT r.rolname AS name, r.rolsuper AS superuser, r.rolbypassrls AS bypasses_rls,
      EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND pg_has_role(c.relowner, 'MEMBER')) AS owns,
      EXISTS (SELECT FROM pg_roles m WHERE m.rolname = 'frostline_maintenance' AND pg_has_role(m.oid, 'MEMBER')) AS maintains
    FROM pg_roles r WHERE r.rolname = current_user`);
  return rows[0] as RoleFacts;
}

async function assertSchemaVersion(pool: pg.Pool): Promise<void> {
  const migrate = 'Run "frostline migrate" with DATABASE_URL set to the owner\'s connection (frostline_owner).';
  const { rows: found } = await pool.query<{ there: boolean }>("SELECT to_regclass('public.schema_migration') IS NOT NULL AS there");
  if (!found[0]?.there) throw new Error(`The database has no Frostline schema yet. ${migrate}`);
  const { rows } = await pool.query<{ name: string }>("SELECT name FROM public.schema_migration ORDER BY id");
  const applied = new Set(rows.map((row) => row.name));
  const known = await listMigrations();
  const missing = known.filter((name) => !applied.has(name));
  if (missing.length > 0) throw new Error(`The database's schema is older than this server: it lacks ${missing.join(", ")}. ${migrate}`);
  const unknown = [...applied].filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new Error(
      `The database's schema is newer than this server: it has ${unknown.join(", ")}. Install the version of Frostline that made it.`,
    );
  }
}

async function listMigrations(): Promise<string[]> {
  const files = await fs.readdir(migrationsDir);
  return files.flatMap((file) => (/^\d+_.*\.sql$/.test(file) ? [file.slice(0, -".sql".length)] : [])).sort();
}
