/** What a schema consists of, as text that two databases can be compared by. */
import { withClient } from "./postgres.js";

/** One line for each column, index, constraint, policy, function, view and grant of schema public, sorted. */
export async function describeCatalog(url: string): Promise<string[]> {
  const { rows } = await withClient(url, (client) => client.query<{ line: string }>(catalogSql));
  return rows.map((row) => row.line);
}

const catalogSql = `
  WITH relation AS (
    SELECT c.oid, c.relname, c.relkind, c.relpersistence, c.relacl, c.relowner, c.reloptions, c.relrowsecurity, c.relforcerowsecurity
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
  )
  SELECT line COLLATE "C" AS line FROM (
    SELECT format('relation %s kind=%s persistence=%s owner=%s options=%s rls=%s force=%s acl=%s', relname, relkind, relpersistence,
      relowner::regrole, reloptions, relrowsecurity, relforcerowsecurity, relacl) AS line FROM relation
    UNION ALL
    SELECT format('column %s.%s %s notnull=%s default=%s', r.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
      pg_get_expr(d.adbin, d.adrelid))
    FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    UNION ALL
    SELECT format('index %s', indexdef) FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT format('constraint %s.%s %s', r.relname, k.conname, pg_get_constraintdef(k.oid)) FROM relation r JOIN pg_constraint k ON k.conrelid = r.oid
    UNION ALL
    SELECT format('policy %s.%s roles=%s cmd=%s using=%s check=%s', tablename, policyname, roles, cmd, qual, with_check)
    FROM pg_policies WHERE schemaname = 'public'
    UNION ALL
    SELECT format('view %s %s', relname, pg_get_viewdef(oid)) FROM relation WHERE relkind = 'v'
    UNION ALL
    SELECT format('function owner=%s acl=%s %s', proowner::regrole, proacl, pg_get_functiondef(oid)) FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace
  ) described ORDER BY 1`;
