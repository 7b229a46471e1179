/** What a database has of one tenant, table by table: compared before and after, it tells whether anything was changed. */
import type pg from "pg";

/** Tables that have a tenant, partitions left out. */
export async function tenantTables(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ relname: string }>(
    `SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname`,
  );
  return rows.map(({ relname }) => relname);
}

/** Rows and checksum of each, as a superuser sees them. */
export async function tenantChecksums(client: pg.ClientBase, tenantId: string): Promise<Record<string, string>> {
  const tables = await tenantTables(client);
  const sums = tables.map(
    (
      table,
    ) => `SELECT '${table}' AS name, count(*) || ' rows ' || md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE "C"), '')) AS sum
      FROM public.${table} t WHERE tenant_id = $1`,
  );
  const { rows } = await client.query<{ name: string; sum: string }>(sums.join(" UNION ALL "), [tenantId]);
  return Object.fromEntries(rows.map(({ name, sum }) => [name, sum]));
}
