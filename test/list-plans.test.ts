/** Pages of a large share, before the database has statistics of it: each page reads about what it returns. */
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createPools, type Pools } from "../src/db/pool.js";
import { listFiles } from "../src/inventory/list-files.js";
import { pathDigest } from "../src/paths.js";
import { createTestDatabase, type TestDatabase, withClient } from "./support/postgres.js";
import { createTestTenant } from "./support/tenant.js";

const pageSize = 500;

let database: TestDatabase;
let tenantId: string;
let pools: Pools;
/** Statements of the last list, newest last. */
let statements: { text: string; values: unknown[] }[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  ({ tenantId } = await createTestTenant(database));
  await withClient(database.superuserUrl, fill);
  pools = createPools(database.runtimeUrl, { queryPoolMax: 1, ingestPoolMax: 1, onIdleError: () => {} });
  pools.query.on("connect", record);
});
afterAll(async () => {
  await pools?.end();
  await database?.drop();
});

/** Shares `few` (40,000 files in 3 directories), `some` (in 8,000) and `many` (in 20,000); nothing of it is analyzed. */
async function fill(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    "SELECT relname AS name FROM pg_class WHERE relkind = 'r' AND (relname LIKE 'file_current_p%' OR relname = 'dir')",
  );
  for (const { name } of rows) await client.query(`ALTER TABLE ${name} SET (autovacuum_enabled = false)`);
  const shares: [string, number][] = [
    ["few", 3],
    ["some", 8000],
    ["many", 20_000],
  ];
  for (const [at, [shareName, directories]] of shares.entries()) {
    const shareId = at + 1;
    const base = shareId * 1_000_000;
    await client.query(
      "INSERT INTO share (tenant_id, share_id, share_name, src_type, case_sensitive) VALUES ($1, $2, $3, 'LucidLink', true)",
      [tenantId, shareId, shareName],
    );
    const paths = ["/", "/a", ...Array.from({ length: directories - 2 }, (_, n) => (n % 2 === 0 ? `/a/d${n}` : `/d${n}`))];
    await client.query(
      `INSERT INTO dir (tenant_id, dir_id, share_id, parent_dir_id, path_digest, dir_path)
       SELECT $1, $3 + ordinality, $2, CASE WHEN path = '/' THEN NULL WHEN path LIKE '/a/%' THEN $3 + 2 ELSE $3 + 1 END, digest, path
       FROM unnest($4::text[], $5::uuid[]) WITH ORDINALITY AS d (path, digest, ordinality)`,
      [tenantId, shareId, base, paths, paths.map((path) => pathDigest(path, true))],
    );
    await client.query(
      `INSERT INTO file_current (tenant_id, file_current_id, share_id, dir_id, name, size_bytes)
       SELECT $1, $3::bigint + n, $2, $3::bigint + 1 + n % $4, 'f' || n, n FROM generate_series(0, 39999) n`,
      [tenantId, shareId, base, directories],
    );
  }
}

function record(client: pg.PoolClient): void {
  const query = client.query.bind(client) as (text: string, values?: unknown[]) => Promise<pg.QueryResult>;
  const recorded = (text: string, values: unknown[] = []) => {
    statements.push({ text, values });
    return query(text, values);
  };
  Object.assign(client, { query: recorded });
}

interface Plan {
  "Node Type": string;
  "Relation Name"?: string;
  "Actual Rows": number;
  "Actual Loops": number;
  "Rows Removed by Filter"?: number;
  Plans?: Plan[];
}

/** Rows of file_current that a plan read. */
function rowsRead(plan: Plan): number {
  const own = plan["Relation Name"]?.startsWith("file_current")
    ? (plan["Actual Rows"] + (plan["Rows Removed by Filter"] ?? 0)) * plan["Actual Loops"]
    : 0;
  return (plan.Plans ?? []).reduce((sum, child) => sum + rowsRead(child), own);
}

/** Rows of file_current that the page last listed read: its statement once more, explained, under the same settings. */
async function explainPage(): Promise<number> {
  const page = statements.find(({ text }) => text.includes("LIMIT $4"));
  const settings = statements.filter(({ text }) => text.startsWith("SET LOCAL"));
  const client = await pools.query.connect();
  try {
    await client.query(`BEGIN; SET LOCAL app.tenant_id = '${tenantId}'`);
    for (const { text } of settings) await client.query(text);
    const { rows } = await client.query<{ "QUERY PLAN": { Plan: Plan }[] }>(`EXPLAIN (ANALYZE, FORMAT JSON) ${page?.text}`, page?.values);
    await client.query("ROLLBACK");
    return rowsRead(rows[0]?.["QUERY PLAN"][0]?.Plan as Plan);
  } finally {
    client.release();
  }
}

function list(shareName: string, dirPath: string, afterId: bigint) {
  statements = [];
  return listFiles(pools.query, tenantId, shareName, { dirPath, fileExtension: "", includeMissing: false }, afterId, pageSize);
}

test.each([
  ["few", "/"],
  ["some", "/"],
  ["many", "/"],
  ["few", "/a"],
  ["some", "/a"],
  ["many", "/a"],
])("%s, below %s", async (shareName, dirPath) => {
  // Beyond the ids of the other shares, which a first page has to pass over.
  let afterId = BigInt(["few", "some", "many"].indexOf(shareName) + 1) * 1_000_000n - 1n;
  for (let page = 0; page < 4; page++) {
    const { files } = await list(shareName, dirPath, afterId);
    expect(files).toHaveLength(pageSize);
    expect(files.every(({ file_current_id }, at) => file_current_id > (files[at - 1]?.file_current_id ?? afterId))).toBe(true);
    afterId = files.at(-1)?.file_current_id as bigint;
    expect(await explainPage(), `page ${page}`).toBeLessThan(pageSize * 4);
  }
});

test("a small directory of a large share is not looked for in all of it", async () => {
  const { files } = await list("some", "/a/d0", 0n);
  expect(files.map(({ size_bytes }) => size_bytes)).toEqual([2n, 8002n, 16_002n, 24_002n, 32_002n]);
  expect(await explainPage()).toBe(5);
});
