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
import { fillEveryTable } from "./support/tenant-rows.js";

let database: TestDatabase;

async function query<T extends pg.QueryResultRow>(sql: string, url = database.ownerUrl): Promise<T[]> {
  return withClient(url, async (client) => (await client.query<T>(sql)).rows);
}

/** Tables that have no tenant, and those that COPY must reach. */
const withoutTenant = ["schema_migration", "background_job"];
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
    expect(deletable.sort()).toEqual(
      ["audit_exclusion", "audit_waiting", "file_current", "hold", "retention_policy", "webhook", "webhook_delivery", ...staging].sort(),
    );
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
