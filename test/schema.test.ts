import * as fs from "node:fs/promises";
import * as path from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../src/db/embedded.js";
import { migrate } from "../src/db/migrate.js";
import type { RunningCluster } from "./support/cluster.js";
import { markdownTables } from "./support/markdown.js";
import {
  createEmptyDatabase,
  createTestDatabase,
  missingPostgres14,
  postgres14,
  type TestDatabase,
  withClient,
} from "./support/postgres.js";
import { createTestTenant } from "./support/tenant.js";

let database: TestDatabase;

async function query<T extends pg.QueryResultRow>(sql: string, url = database.ownerUrl): Promise<T[]> {
  return withClient(url, async (client) => (await client.query<T>(sql)).rows);
}

/** Tables that have no tenant, and those that COPY must reach. */
const withoutTenant = ["schema_migration"];
const staging = ["staging_file", "staging_dir", "staging_diff"];

describe("on the run's PostgreSQL", () => {
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.drop());

  describe("docs/schema.md", documentTests);
  describe("row-level security", securityTests);
  describe("privileges", privilegeTests);
});

describe.skipIf(missingPostgres14())("on PostgreSQL 14", () => {
  let running: RunningCluster;
  beforeAll(async () => {
    running = await postgres14();
    database = await createEmptyDatabase(running.cluster);
    await migrate(database.ownerUrl);
  });
  afterAll(() => running.stop());

  describe("docs/schema.md", documentTests);
  describe("row-level security", securityTests);
  describe("privileges", privilegeTests);
});

function documentTests(): void {
  test("lists exactly the tables, views and columns there are, with their types", async () => {
    const page = await fs.readFile(path.join(packageRoot, "docs", "schema.md"), "utf8");
    const documented = markdownTables(page)
      .filter((table) => table.columns.join() === "column,type,unit,meaning,source")
      .flatMap((table) => table.rows.map(([column, type]) => `${table.heading}.${column} ${type}`.replaceAll("`", "")));
    const stored = await query<{ line: string }>(`
      SELECT format('%s.%s %s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' not null' END) AS line
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition`);
    expect(documented.sort()).toEqual(stored.map((row) => row.line).sort());
  });

  test("explains every one of them", async () => {
    const page = await fs.readFile(path.join(packageRoot, "docs", "schema.md"), "utf8");
    for (const table of markdownTables(page)) {
      for (const row of table.rows) {
        expect(row, `${table.heading}: ${row[0]}`).toHaveLength(table.columns.length);
        expect(
          row.every((cell) => cell !== ""),
          `${table.heading}: ${row[0]}`,
        ).toBe(true);
      }
    }
  });

  test("maps every column of the original proposal's file and file_inventory", async () => {
    const page = await fs.readFile(path.join(packageRoot, "docs", "schema.md"), "utf8");
    const [file, inventory] = markdownTables(page)
      .filter((table) => table.columns.join() === "proposed,here")
      .map((table) => table.rows.map(([proposed]) => (proposed as string).replaceAll("`", "")));
    expect(file).toEqual("file_id tenant_id scan_id dir_id name size_bytes atime_unix mtime_unix ctime_unix frn".split(" "));
    const view = await query<{ attname: string }>(
      "SELECT attname FROM pg_attribute WHERE attrelid = 'file_inventory'::regclass AND attnum > 0 ORDER BY attnum",
    );
    expect(inventory).toEqual(view.map((row) => row.attname));
  });
}

function securityTests(): void {
  test("every table that has a tenant, partitions too, enables and forces it, and no other view stands beside it", async () => {
    const tables = await query<{ relname: string; on: boolean; policies: string }>(`
      SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS on, c.relispartition,
        (SELECT string_agg(format('%s %s %s', p.polcmd, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)), ';')
         FROM pg_policy p WHERE p.polrelid = c.oid AND p.polroles = '{0}') AS policies
      FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
        AND c.relname <> ALL ('{${[...withoutTenant, ...staging].join()}}')`);
    expect(tables.length).toBeGreaterThan(30);
    expect(tables.filter((table) => !table.on)).toEqual([]);
    const own = "(tenant_id = ( SELECT current_tenant() AS current_tenant))";
    const only = `* ${own} ${own}`;
    // A partition without a policy of its own shows nothing to who reaches it directly.
    expect(tables.filter((table) => table.policies !== only && !/_(p\d|default|\d+)$/.test(table.relname))).toEqual([]);
  });

  test("every tenant's table leads its primary key with tenant_id", async () => {
    const keys = await query<{ relname: string; first: string | null }>(`
      SELECT c.relname, a.attname AS first FROM pg_class c
      LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
      LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND c.relname <> ALL ('{${[...withoutTenant, ...staging].join()}}')`);
    expect(keys.filter((key) => key.first !== "tenant_id")).toEqual([{ relname: "audit_log", first: null }]);
  });

  test("nothing is visible, through tables or views, unless a tenant is set, and then only that tenant's", async () => {
    const [mine, other] = [await createTestTenant(database), await createTestTenant(database)];
    for (const tenant of [mine, other]) await fillEveryTable(database.ownerUrl, tenant.tenantId);
    const relations = await query<{ relname: string }>(`
      SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
        AND c.relname <> ALL ('{${[...withoutTenant, ...staging].join()}}') AND NOT c.relispartition ORDER BY 1`);
    for (const { relname } of relations) {
      const column = relname === "file_inventory" ? "customer_id" : "tenant_id";
      const sql = `SELECT DISTINCT ${column} AS tenant FROM ${relname}`;
      for (const url of [database.runtimeUrl, database.ownerUrl]) {
        expect(await query(sql, url), relname).toEqual([]);
        const seen = await withClient(url, async (client) => {
          await client.query(`BEGIN; SET LOCAL app.tenant_id = '${mine.tenantId}'`);
          return (await client.query(sql)).rows;
        });
        expect(seen, relname).toEqual([{ tenant: mine.tenantId }]);
      }
    }
  });

  test("a row of another tenant cannot be written", async () => {
    const [mine, other] = [await createTestTenant(database), await createTestTenant(database)];
    const attempt = withClient(database.runtimeUrl, async (client) => {
      await client.query(`BEGIN; SET LOCAL app.tenant_id = '${mine.tenantId}'`);
      await client.query("INSERT INTO share (tenant_id, share_name, src_type, case_sensitive) VALUES ($1, 'x', 'NTFS', false)", [
        other.tenantId,
      ]);
    });
    await expect(attempt).rejects.toMatchObject({ code: "42501" });
  });
}

function privilegeTests(): void {
  test("history, logs and ledgers are append-only for the runtime role; parents and the schema stay out of its reach", async () => {
    const rows = await query<{ relname: string; may: string }>(`
      SELECT c.relname, concat_ws(' ', CASE WHEN has_table_privilege('frostline_runtime', c.oid, 'INSERT') THEN 'insert' END,
        CASE WHEN has_table_privilege('frostline_runtime', c.oid, 'UPDATE') OR has_any_column_privilege('frostline_runtime', c.oid, 'UPDATE') THEN 'update' END,
        CASE WHEN has_table_privilege('frostline_runtime', c.oid, 'DELETE') THEN 'delete' END,
        CASE WHEN has_table_privilege('frostline_runtime', c.oid, 'TRUNCATE') THEN 'truncate' END) AS may
      FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')`);
    const may = new Map(rows.map((row) => [row.relname, row.may]));
    for (const table of ["file", "audit_log", "ingest_chunk", "scan_problem", "lucid_audit_processed", "warming_event"]) {
      expect(may.get(table), table).toBe("insert");
    }
    for (const table of ["tenant", "schema_migration"]) expect(may.get(table), table).toBe("");
    for (const [table, rights] of may) {
      expect(rights, table).not.toContain("truncate");
      if (/_(p\d|default|\d{6})$/.test(table)) expect(rights, table).toBe("");
    }
    const deletable = [...may].filter(([, rights]) => rights.includes("delete")).map(([table]) => table);
    expect(deletable.sort()).toEqual(["audit_exclusion", "audit_waiting", "file_current", "hold", "retention_policy", ...staging].sort());
    expect(await query("SELECT 1 AS can WHERE has_schema_privilege('frostline_runtime', 'public', 'CREATE')")).toEqual([]);
  });

  test("functions that see across tenants belong to the maintenance role, pin their search path, and are not for everyone", async () => {
    const rows = await query<{ name: string; owner: string; pinned: boolean; everyone: boolean }>(`
      SELECT p.proname AS name, p.proowner::regrole::text AS owner, coalesce(p.proconfig::text LIKE '%search_path=pg_catalog, pg_temp%', false) AS pinned,
        EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) WHERE grantee = 0) AS everyone
      FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef`);
    expect(rows.map((row) => row.name)).toEqual(expect.arrayContaining(["authenticate_key", "list_tenants", "create_tenant"]));
    // ANALYZE and partitions are their table's owner's to do; these functions show no row of another tenant.
    const ofOwner = ["analyze_tenant", "make_audit_log_partitions", "drop_empty_audit_log_partitions"];
    const owner = (name: string) => (ofOwner.includes(name) ? "frostline_owner" : "frostline_maintenance");
    for (const row of rows) expect(row).toEqual({ name: row.name, owner: owner(row.name), pinned: true, everyone: false });
  });

  test("the roles cannot get around row-level security", async () => {
    const rows = await query(
      `SELECT rolname FROM pg_roles WHERE rolname LIKE 'frostline%' AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb)`,
    );
    expect(rows).toEqual([]);
    expect(await query("SELECT 1 AS may WHERE pg_has_role('frostline_runtime', 'frostline_maintenance', 'MEMBER')")).toEqual([]);
  });
}

/** A row in every table that has a tenant. */
async function fillEveryTable(url: string, tenantId: string): Promise<void> {
  await withClient(url, async (client) => {
    await client.query(`BEGIN; SET LOCAL app.tenant_id = '${tenantId}'`);
    const { rows } = await client.query<{ share_id: string }>(
      "INSERT INTO share (tenant_id, share_name, src_type, case_sensitive) VALUES ($1, 'films', 'NTFS', false) RETURNING share_id",
      [tenantId],
    );
    await client.query(rowsOfOneShare(tenantId, rows[0]?.share_id as string));
    await client.query("COMMIT");
  });
}

function rowsOfOneShare(tenant: string, share: string): string {
  return `
    INSERT INTO scan (tenant_id, scan_id, share_id, src_type, mode, brake_limit) VALUES ('${tenant}', 1, ${share}, 'NTFS', 'FULL', 1);
    INSERT INTO scan_writer (tenant_id, scan_id, writer) VALUES ('${tenant}', 1, 'main');
    INSERT INTO ingest_chunk VALUES ('${tenant}', 1, 'main', 0);
    INSERT INTO scan_problem VALUES ('${tenant}', 1, 'main', 0, 0, 0, '/', 'x', 'why');
    INSERT INTO dir (tenant_id, dir_id, share_id, path_digest, dir_path) VALUES ('${tenant}', 1, ${share}, gen_random_uuid(), '/');
    INSERT INTO file (tenant_id, share_id, dir_id, name, scan_id, change, file_current_id) VALUES ('${tenant}', ${share}, 1, 'x', 1, 'A', 1);
    INSERT INTO file_current (tenant_id, file_current_id, share_id, dir_id, name) VALUES ('${tenant}', 1, ${share}, 1, 'x');
    INSERT INTO lucid_audit_cursor (tenant_id, volume_id, audit_file_path) VALUES ('${tenant}', 'v', 'f');
    INSERT INTO audit_exclusion (tenant_id, share_id, kind, value) VALUES ('${tenant}', ${share}, 'user', 'backup');
    INSERT INTO audit_waiting (tenant_id, share_id, dir_digest, name, path, event_micros, event_id) VALUES ('${tenant}', ${share}, '${tenant}', 'f', '/f', 1, 'e');
    INSERT INTO lucid_audit_processed VALUES ('${tenant}', 'v', 'e');
    INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, source) VALUES ('${tenant}', 'access', ${share}, 1, 'test');
    INSERT INTO tier_rule (tenant_id, version, rule_name, priority, expression, target_uri, created_by) VALUES ('${tenant}', 1, 'r', 1, 'true', 's3://x', 'who');
    INSERT INTO tier_plan (tenant_id, share_id, plan_no, request_id, scan_id, now_unix, planned_by, brake_confirmed, planned_files, planned_bytes,
      planned_allocated_bytes, funnel) VALUES ('${tenant}', ${share}, 1, '${tenant}', 1, 0, 'who', false, 0, 0, 0, '[]');
    INSERT INTO hold (tenant_id, share_id, path_glob, reason, created_by) VALUES ('${tenant}', ${share}, '**', 'why', 'who');
    INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, planned_by) VALUES ('${tenant}', ${share}, 1, 's3://x', 'PLANNED', 'who');
    INSERT INTO warming_position VALUES ('${tenant}', 2);
    INSERT INTO warming_event (tenant_id, position, tier_id, share_id, event_utc, recorded_utc)
      SELECT tenant_id, 1, tier_id, share_id, now(), now() FROM tier_object WHERE tenant_id = '${tenant}';
    INSERT INTO warming_storm VALUES ('${tenant}', 2, ${share}, now(), now(), now(), 2, 1, 2, now());
    INSERT INTO retention_policy (tenant_id, keep_scans) VALUES ('${tenant}', 3);
    INSERT INTO retention_bound (tenant_id, audit_log_days) VALUES ('${tenant}', 9);
    INSERT INTO retention_job VALUES ('${tenant}', 'history', now(), 0, 0);
    INSERT INTO erasure (tenant_id, kind, share_id, requested_by) VALUES ('${tenant}', 'SHARE', ${share}, 'who');`;
}
