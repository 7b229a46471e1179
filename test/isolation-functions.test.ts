/**
 * Functions that run with other rights than their caller's: named another tenant's ids, they show and change nothing of it. They come
 * out of the catalogue; a new one is called without anybody writing it down, unless its arguments are of a new kind.
 */
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnEachPostgres } from "./support/each-postgres.js";
import { createTestTenant } from "./support/tenant.js";
import { tenantChecksums } from "./support/tenant-checksums.js";
import { fillEveryTable } from "./support/tenant-rows.js";

/** What these are for is to see across tenants, or they look at no tenant's rows; test/tenancy.test.ts and test/maintenance.test.ts have them. */
const acrossTenants = [
  "authenticate_key",
  "list_tenants",
  "create_tenant",
  "make_audit_log_partitions",
  "drop_empty_audit_log_partitions",
  "webhook_tenants",
  "webhook_tenants_due",
  "webhook_backlog",
];
/** Called by its own tenant they change no row either: statistics; a tenant that has shares yet. */
const withoutEffect = ["analyze_tenant", "erase_tenant_rows"];

interface DefinerFunction {
  name: string;
  signature: string;
  parameters: { name: string; type: string }[];
}

describeOnEachPostgres((database) => {
  let superuser: pg.Client;
  let mine: string;
  let theirs: string;
  let functions: DefinerFunction[];
  let values: Record<string, unknown>;

  beforeAll(async () => {
    superuser = new pg.Client({ connectionString: database().superuserUrl });
    await superuser.connect();
    [mine, theirs] = [await filledTenant(), await filledTenant()];
    functions = await readFunctions(superuser);
    const { rows } = await superuser.query("SELECT share_id FROM share WHERE tenant_id = $1", [theirs]);
    values = valuesOf(theirs, rows[0].share_id);
  });
  afterAll(() => superuser?.end());

  async function filledTenant(): Promise<string> {
    const { tenantId } = await createTestTenant(database());
    await fillEveryTable(database().ownerUrl, tenantId);
    await superuser.query(thingsToDo.replaceAll("$1", `'${tenantId}'`));
    return tenantId;
  }

  /** Calls it with the ids of `theirs` as the runtime role acting for `tenant`; undone again. */
  async function call(of: DefinerFunction, tenant: string | undefined) {
    const parameters = of.parameters.map(({ name, type }) => {
      const value = values[`${of.name} ${name}`] ?? values[`${name} ${type}`];
      if (value === undefined) throw new Error(`${of.signature}: say in valuesOf() what of another tenant to pass as ${name} ${type}`);
      return value;
    });
    const before = await tenantChecksums(superuser, theirs);
    await superuser.query("BEGIN; SET LOCAL ROLE frostline_runtime");
    try {
      if (tenant !== undefined) await superuser.query(`SET LOCAL app.tenant_id = '${tenant}'`);
      await superuser.query("SAVEPOINT called");
      let rows: Record<string, unknown>[] = [];
      let code: string | undefined;
      try {
        const list = of.parameters.map(({ type }, i) => `$${i + 1}::${type}`).join();
        rows = (await superuser.query(`SELECT * FROM ${of.name}(${list})`, parameters)).rows;
      } catch (error) {
        if (!(error instanceof pg.DatabaseError)) throw error;
        code = error.code;
        await superuser.query("ROLLBACK TO called");
      }
      await superuser.query("RESET ROLE");
      const after = await tenantChecksums(superuser, theirs);
      return { rows, code, changed: Object.keys(after).filter((table) => after[table] !== before[table]) };
    } finally {
      await superuser.query("ROLLBACK");
    }
  }

  test("all functions that see more than their caller are known", () => {
    const names = functions.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining([...withoutEffect, "purge_versions", "erase_share_rows"]));
    expect(functions.length).toBeGreaterThan(10);
  });

  test("by the tenant itself, each does what it is for", async () => {
    for (const of of functions) {
      const { code, changed } = await call(of, theirs);
      const expected = of.name === "erase_tenant_rows" ? "55000" : undefined;
      expect(code, of.signature).toBe(expected);
      if (!withoutEffect.includes(of.name)) expect(changed, of.signature).not.toEqual([]);
    }
  });

  test("by another tenant, or by none, they find nothing and change nothing", async () => {
    for (const of of functions) {
      for (const tenant of [mine, undefined]) {
        const { rows, code, changed } = await call(of, tenant);
        expect(changed, of.signature).toEqual([]);
        // Refused for what is set or not there, never for what was met.
        expect([undefined, "55000"], `${of.signature}: ${code}`).toContain(code);
        const found = rows.flatMap((row) => Object.values(row)).filter((value) => value !== null && value !== "" && value !== "0");
        expect(found, of.signature).toEqual([]);
      }
    }
  });
});

/** So that each function finds something to do: a finished scan with an older version, a running one, old log rows, a person. */
const thingsToDo = `
  UPDATE scan SET status = 'OK' WHERE tenant_id = $1;
  INSERT INTO scan (tenant_id, scan_id, share_id, src_type, mode, brake_limit) SELECT tenant_id, 2, share_id, 'NTFS', 'FULL', 1 FROM share WHERE tenant_id = $1;
  INSERT INTO file (tenant_id, share_id, dir_id, name, scan_id, change, file_current_id)
    SELECT tenant_id, share_id, 1, 'x', n, 'C', 1 FROM share, (VALUES (0), (2)) v (n) WHERE tenant_id = $1;
  UPDATE share SET erasing_utc = now() WHERE tenant_id = $1;
  UPDATE audit_log SET recorded_utc = now() - interval '3 days', actor = 'bea' WHERE tenant_id = $1;
  UPDATE warming_event SET actor = 'bea', recorded_utc = now() - interval '3 days' WHERE tenant_id = $1;
  UPDATE lucid_audit_cursor SET last_position = 9 WHERE tenant_id = $1;
  UPDATE lucid_audit_processed SET audit_event_id = translate(left(encode(sha256(convert_to('f', 'UTF8')), 'base64'), 16), '+/', '-_') || ':0:5',
    processed_utc = now() - interval '3 days' WHERE tenant_id = $1;`;

/** By parameter and type, or by function and parameter where it needs another. */
function valuesOf(tenantId: string, shareId: unknown): Record<string, unknown> {
  const yesterday = new Date(Date.now() - 86_400_000 - 60_000);
  return {
    "p_tenant uuid": tenantId,
    "p_share bigint": shareId,
    "p_scan bigint": 1,
    "adopt_identity p_scan": 2,
    "p_dir_ids bigint[]": [1],
    "p_names text[]": ["x"],
    "p_file_current_ids bigint[]": [7],
    "p_file_hashes bytea[]": [Buffer.from([1])],
    "p_from timestamp with time zone": new Date(0),
    "p_before timestamp with time zone": yesterday,
    "p_limit integer": 100,
    "p_problems boolean": true,
    "p_page bigint": 0,
    "p_pages bigint": 1000,
    "p_name text": "bea",
    "p_from bigint": 0,
    "p_to bigint": 1000,
    "p_seen_no integer": 0,
    "p_seen_dek text": "",
    "p_seen_previous text": null,
    "p_no integer": 1,
    "p_ref text": "local:x",
    "p_dek text": "x",
    "p_previous_ref text": null,
    "p_previous_dek text": null,
  };
}

async function readFunctions(superuser: pg.Client): Promise<DefinerFunction[]> {
  const { rows } = await superuser.query<DefinerFunction>(
    `SELECT p.proname AS name, p.oid::regprocedure::text AS signature, (
       SELECT json_agg(json_build_object('name', p.proargnames[i], 'type', format_type(p.proargtypes[i - 1], NULL)) ORDER BY i)
       FROM generate_series(1, p.pronargs) i
     ) AS parameters
     FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef AND p.proname <> ALL ($1)
       AND has_function_privilege('frostline_runtime', p.oid, 'EXECUTE') ORDER BY 1`,
    [acrossTenants],
  );
  return rows;
}
