/**
 * Two tenants with rows in every table, and the runtime role as one of them: whatever SQL it sends, of the other's rows it sees none,
 * changes none, and learns of none. The tables come out of the catalogue: a new one is tried without anybody writing it down here.
 */
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnEachPostgres } from "./support/each-postgres.js";
import type { TestDatabase } from "./support/postgres.js";
import { createTestTenant } from "./support/tenant.js";
import { tenantChecksums } from "./support/tenant-checksums.js";
import { fillEveryTable } from "./support/tenant-rows.js";

/** COPY must reach them, and temporary tables of each connection shadow them. Which tables have no tenant, test/schema.test.ts knows. */
const staging = ["staging_file", "staging_dir", "staging_diff"];
/** What row-level security and missing privileges answer. */
const refused = "42501";
/** A view that is not simple takes no rows, and COPY FROM no policies. */
const unable = ["55000", "0A000", "42809"];

interface Relation {
  name: string;
  kind: "r" | "p" | "v";
  partition: boolean;
  /** What says whose the row is. */
  tenantColumn: string;
  columns: string[];
  /** Those that UPDATE may name at all: not what always comes from a sequence. */
  settable: string[];
}

interface Answer {
  /** SQLSTATE; undefined: done. */
  code?: string;
  rows: Record<string, string>[];
  /** By the command's tag. */
  count: number;
}

describeOnEachPostgres((database) => {
  let mine: string;
  let theirs: string;
  let superuser: pg.Client;
  let runtime: pg.Client;
  let relations: Relation[];
  let before: Record<string, string>;

  beforeAll(async () => {
    superuser = await connect(database().superuserUrl);
    runtime = await connect(database().runtimeUrl);
    [mine, theirs] = [await filledTenant(database()), await filledTenant(database())];
    relations = await readRelations(superuser);
    before = await tenantChecksums(superuser, theirs);
  });
  afterAll(async () => {
    await runtime?.end();
    await superuser?.end();
  });

  /** Runs `work` as the runtime role acting for `tenant`, and undoes it. */
  async function acting(tenant: string | undefined, work: () => Promise<void>): Promise<void> {
    await runtime.query("BEGIN");
    try {
      if (tenant !== undefined) await runtime.query(`SET LOCAL app.tenant_id = '${tenant}'`);
      await work();
    } finally {
      await runtime.query("ROLLBACK");
    }
  }

  async function attempt(sql: string, values: unknown[] = []): Promise<Answer> {
    await runtime.query("SAVEPOINT attempt");
    try {
      const { rows, rowCount } = await runtime.query(sql, values);
      return { rows, count: rowCount ?? 0 };
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
      return { code: error.code as string, rows: [], count: 0 };
    } finally {
      await runtime.query("ROLLBACK TO attempt");
    }
  }

  /** The statement did nothing, or was refused for want of a right; never for what it met. */
  function expectNothing(answer: Answer, sql: string): void {
    expect([refused, undefined], `${sql}: ${answer.code}`).toContain(answer.code);
    expect(answer.count, sql).toBe(0);
  }

  test("the relations are there, and each table has rows of both", () => {
    expect(relations.filter(({ kind }) => kind === "v").map(({ name }) => name)).toContain("file_inventory");
    expect(relations.filter(({ partition }) => partition).length).toBeGreaterThanOrEqual(20);
    const tables = relations.filter(({ kind, partition }) => kind !== "v" && !partition).map(({ name }) => name);
    expect(tables.length).toBeGreaterThanOrEqual(25);
    for (const table of tables) expect(before[table], table).toMatch(/^[1-9]/);
  });

  test("nothing is read, by SELECT or COPY", async () => {
    await acting(mine, async () => {
      for (const { name, tenantColumn, partition } of relations) {
        const all = await attempt(`SELECT ${tenantColumn} AS tenant FROM ${name}`);
        expect([refused, undefined], name).toContain(all.code);
        expect(all.rows.filter(({ tenant }) => tenant !== mine)).toEqual([]);
        // A partition has no policy of its own: reached directly it shows nothing, not even what is one's own.
        if (partition) expectNothing(all, name);
        else expect(all.count, name).toBeGreaterThan(0);
        expectNothing(await attempt(`SELECT FROM ${name} WHERE ${tenantColumn} = $1`, [theirs]), name);
        expectNothing(await attempt(`SELECT FROM ${name} WHERE ${tenantColumn} <> $1`, [mine]), name);
        const copied = await attempt(`COPY (SELECT * FROM ${name}) TO STDOUT`);
        expect([copied.code, copied.count], name).toEqual([all.code, all.count]);
        const whole = await attempt(`COPY ${name} TO STDOUT`);
        expect([refused, undefined, ...unable], name).toContain(whole.code);
        expect(whole.count, name).toBeLessThanOrEqual(all.count);
      }
    });
  });

  test("nothing is updated or deleted, with or without naming it", async () => {
    await acting(mine, async () => {
      for (const { name, tenantColumn, settable, kind } of relations) {
        const changes = [`DELETE FROM ${name}`, ...settable.map((column) => `UPDATE ${name} SET ${column} = ${column}`)];
        for (const change of changes) {
          const named = await attempt(`${change} WHERE ${tenantColumn} = $1`, [theirs]);
          if (kind === "v") expect([refused, ...unable], change).toContain(named.code);
          else expectNothing(named, change);
          const all = await attempt(`${change} RETURNING ${tenantColumn} AS tenant`);
          expect(
            all.rows.filter(({ tenant }) => tenant !== mine),
            change,
          ).toEqual([]);
        }
        expect((await attempt(`TRUNCATE ${name} CASCADE`)).code, name).toMatch(kind === "v" ? /./ : refused);
      }
    });
  });

  test("no row of theirs is written, nor one's own given to them, and the answer does not tell which keys they have", async () => {
    const copies = new Map<string, unknown>();
    for (const { name, kind, tenantColumn } of relations.filter(({ kind }) => kind !== "v")) {
      const { rows } = await superuser.query(`SELECT row_to_json(t)::text AS copy FROM ${name} t WHERE ${tenantColumn} = $1 LIMIT 1`, [
        theirs,
      ]);
      if (rows.length > 0) copies.set(name, rows[0].copy);
      else expect(kind).toBe("r");
    }
    for (const tenant of [mine, undefined]) {
      await acting(tenant, async () => {
        for (const { name, columns, kind, tenantColumn } of relations.filter(({ kind }) => kind !== "v")) {
          const list = columns.join();
          const insert = `INSERT INTO ${name} (${list}) OVERRIDING SYSTEM VALUE SELECT ${list} FROM json_populate_record(NULL::${name}, $1)`;
          // An empty partition: a row of theirs all the same.
          const copy = copies.get(name) ?? JSON.stringify({ tenant_id: theirs });
          expect((await attempt(insert, [copy])).code, insert).toBe(refused);
          expect((await attempt(`${insert} ON CONFLICT DO NOTHING`, [copy])).code, insert).toBe(refused);
          if (kind === "r") expect([refused, ...unable], name).toContain((await attempt(`COPY ${name} (${tenantColumn}) FROM STDIN`)).code);
          expect([refused, undefined], name).toContain((await attempt(`UPDATE ${name} SET ${tenantColumn} = $1`, [theirs])).code);
          expect((await attempt(`UPDATE ${name} SET ${tenantColumn} = $1`, [theirs])).count, name).toBe(0);
        }
      });
    }
  });

  test("without a tenant, or with an empty one, there are no rows at all", async () => {
    for (const tenant of [undefined, ""]) {
      await acting(tenant, async () => {
        for (const { name, kind, settable } of relations) {
          expectNothing(await attempt(`SELECT FROM ${name}`), name);
          expectNothing(await attempt(`COPY (SELECT * FROM ${name}) TO STDOUT`), name);
          if (kind === "v") continue;
          expectNothing(await attempt(`DELETE FROM ${name}`), name);
          for (const column of settable) expectNothing(await attempt(`UPDATE ${name} SET ${column} = ${column}`), `${name}.${column}`);
        }
      });
    }
  });

  test("uniqueness and references stop at the tenant: no key of theirs is in the way of one's own", async () => {
    const { rows } = await superuser.query<{ line: string }>(
      `SELECT pg_get_indexdef(i.indexrelid) AS line FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
       JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
       WHERE c.relnamespace = 'public'::regnamespace AND (i.indisunique OR i.indisexclusion) AND a.attnum <> ALL (i.indkey)`,
    );
    // A hash of 256 random bits, and a code that only admins of the platform choose.
    expect(rows.map(({ line }) => line.replace(/^.* ON public\./, ""))).toEqual(
      expect.arrayContaining(["api_key USING btree (secret_sha256)", "tenant USING btree (code)"]),
    );
    expect(rows).toHaveLength(2);
    const { rows: references } = await superuser.query(
      `SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace
         AND pg_get_constraintdef(oid) !~ '^FOREIGN KEY \\(tenant_id[,)].* REFERENCES \\w+\\(tenant_id[,)]'`,
    );
    expect(references).toEqual([]);
  });

  test("numbers are drawn from sequences, and nobody can set them", async () => {
    const { rows } = await superuser.query<{ name: string; set: boolean }>(
      `SELECT oid::regclass::text AS name, has_sequence_privilege('frostline_runtime', oid, 'UPDATE') AS set
       FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace`,
    );
    expect(rows.length).toBeGreaterThan(3);
    expect(rows.filter(({ set }) => set)).toEqual([]);
  });

  test("the planner's statistics, which have values of rows, are not shown", async () => {
    await superuser.query("ANALYZE");
    const shown = "SELECT tablename, attname FROM pg_stats WHERE schemaname = 'public' AND tablename = ANY ($1)";
    const names = [relations.map(({ name }) => name)];
    expect((await superuser.query(shown, names)).rows.length).toBeGreaterThan(100);
    expect((await runtime.query(shown, names)).rows).toEqual([]);
    expect((await runtime.query("SELECT tablename FROM pg_stats_ext WHERE schemaname = 'public'")).rows).toEqual([]);
  });

  test("after all of this their rows are as they were", async () => {
    expect(await tenantChecksums(superuser, theirs)).toEqual(before);
  });
});

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}

async function filledTenant(database: TestDatabase): Promise<string> {
  const { tenantId } = await createTestTenant(database);
  await fillEveryTable(database.ownerUrl, tenantId);
  return tenantId;
}

async function readRelations(superuser: pg.Client): Promise<Relation[]> {
  const { rows } = await superuser.query<Relation>(
    `SELECT c.relname AS name, c.relkind AS kind, c.relispartition AS partition,
       max(a.attname) FILTER (WHERE a.attname IN ('tenant_id', 'customer_id')) AS "tenantColumn",
       array_agg(quote_ident(a.attname) ORDER BY a.attnum) AS columns,
       array_agg(quote_ident(a.attname) ORDER BY a.attnum) FILTER (WHERE a.attidentity <> 'a') AS settable
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND c.relname <> ALL ($1)
     GROUP BY c.oid, c.relname, c.relkind, c.relispartition
     HAVING c.relkind = 'v' OR bool_or(a.attname = 'tenant_id') ORDER BY c.relname`,
    [staging],
  );
  return rows;
}
