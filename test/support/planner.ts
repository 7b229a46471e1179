/** A share of generated files for tests of the planner: written straight into the database, every column in some of its states. */

import type { Pool } from "pg";
import { createPools } from "../../src/db/pool.js";
import { pathDigest, splitPath } from "../../src/paths.js";
import type { RuleSpec } from "../../src/planner/rule.js";
import { defaultRuleSettings, type RuleSettings } from "../../src/planner/rule-settings.js";
import { createTestDatabase, type TestDatabase, withClient } from "./postgres.js";
import { createTestTenant, type TestTenant } from "./tenant.js";

export const nowUnix = 1_800_000_000n;

export interface PlannerFixture {
  database: TestDatabase;
  tenant: TestTenant;
  /** Of the runtime role. */
  pool: Pool;
  /** A key of the tenant: who plans. */
  keyId: string;
  /** Rows as the superuser sees them; numbers of 64 bits as text. */
  look<Row extends Record<string, unknown>>(sql: string, values?: unknown[]): Promise<Row[]>;
  close(): Promise<void>;
}

export async function plannerFixture(): Promise<PlannerFixture> {
  const database = await createTestDatabase();
  const tenant = await createTestTenant(database);
  const pools = createPools(database.runtimeUrl, { queryPoolMax: 10, ingestPoolMax: 1, onIdleError: () => {} });
  const look: PlannerFixture["look"] = (sql, values = []) =>
    withClient(database.superuserUrl, async (client) => (await client.query(sql, values)).rows as never);
  const [key] = await look<{ key_id: string }>("SELECT key_id FROM api_key WHERE tenant_id = $1 LIMIT 1", [tenant.tenantId]);
  return {
    database,
    tenant,
    pool: pools.query,
    keyId: key?.key_id as string,
    look,
    async close() {
      await pools.end();
      await database.drop();
    },
  };
}

/** A rule that says `rest`, and otherwise what rules say by default, for any share and with no brake. */
export function rule(name: string, priority: number, expression: string, rest: Partial<RuleSettings> = {}): RuleSpec {
  const settings = { ...defaultRuleSettings, brake_percent: 100, ...rest };
  return { name, description: "", priority, enabled: true, expression, targetUri: `s3://cold/${name}`, settings };
}

export interface ShareOptions {
  caseSensitive?: boolean;
  /** What the last complete scan listed; undefined: there was none. */
  scanned?: { files: number; bytes: bigint; endedUnix: bigint } | undefined;
}

/** A LucidLink share without files. */
export async function createShare(fixture: PlannerFixture, shareName: string, options: ShareOptions = {}): Promise<bigint> {
  const { tenantId } = fixture.tenant;
  const { caseSensitive = true, scanned } = options;
  const [share] = await fixture.look<{ share_id: string }>(
    "INSERT INTO share (tenant_id, share_name, src_type, case_sensitive) VALUES ($1, $2, 'LucidLink', $3) RETURNING share_id",
    [tenantId, shareName, caseSensitive],
  );
  const shareId = BigInt(share?.share_id as string);
  if (scanned === undefined) return shareId;
  await fixture.look(
    `WITH done AS (
       INSERT INTO scan (tenant_id, share_id, src_type, mode, status, finished_utc, files_listed, bytes_listed, brake_limit)
       VALUES ($1, $2, 'LucidLink', 'FULL', 'OK', to_timestamp($3::bigint), $4, $5, 1) RETURNING scan_id
     )
     UPDATE share SET last_complete_scan_id = (SELECT scan_id FROM done), last_complete_utc = to_timestamp($3::bigint)
     WHERE tenant_id = $1 AND share_id = $2`,
    [tenantId, shareId, scanned.endedUnix, scanned.files, scanned.bytes],
  );
  return shareId;
}

/** Columns of file_current; by default a complete file of 1,000 bytes, used and modified 1,000,000 s before `nowUnix`. */
export async function addFile(
  fixture: PlannerFixture,
  share: { shareId: bigint; caseSensitive?: boolean },
  path: string,
  columns: Record<string, unknown> = {},
): Promise<bigint> {
  const { tenantId } = fixture.tenant;
  const { dirPath, name } = splitPath(path) as { dirPath: string; name: string };
  const [dir] = await fixture.look<{ dir_id: string }>(
    `INSERT INTO dir (tenant_id, dir_id, share_id, path_digest, dir_path) VALUES ($1, nextval('dir_id_block'), $2, $3, $4)
     ON CONFLICT (tenant_id, share_id, path_digest) DO UPDATE SET dir_path = excluded.dir_path RETURNING dir_id`,
    [tenantId, share.shareId, pathDigest(dirPath, share.caseSensitive ?? true), dirPath],
  );
  const row: Record<string, unknown> = {
    tenant_id: tenantId,
    share_id: share.shareId,
    dir_id: dir?.dir_id,
    name,
    file_extension: /\.([^.]+)$/.exec(name)?.[1]?.toLowerCase() ?? "",
    link_count: 1,
    size_bytes: 1000,
    allocated_bytes: 4096,
    atime_unix: nowUnix - 1_000_000n,
    mtime_unix: nowUnix - 1_000_000n,
    ctime_unix: nowUnix - 1_000_000n,
    ...columns,
  };
  const names = Object.keys(row);
  const [file] = await fixture.look<{ id: string }>(
    `INSERT INTO file_current (file_current_id, ${names.join(", ")}) VALUES (nextval('file_current_id_block'), ${names.map((_, i) => `$${i + 1}`).join(", ")})
     RETURNING file_current_id AS id`,
    Object.values(row),
  );
  return BigInt(file?.id as string);
}

/**
 * `files` files in `files / 30` directories, three levels deep, that were scanned completely an hour before `nowUnix`. `seed` (0 to 1)
 * decides the values: sizes from 0 to some GiB, times up to nine years before now and a little after, one in twenty of each of
 * missing, incomplete, stale, linked and of objects in each state.
 */
export async function generateShare(fixture: PlannerFixture, shareName: string, files: number, seed = 0.5): Promise<bigint> {
  const { tenantId } = fixture.tenant;
  const scanned = { files, bytes: 2n ** 63n - 1n, endedUnix: nowUnix - 3600n };
  const shareId = await createShare(fixture, shareName, { scanned });
  await withClient(fixture.database.superuserUrl, async (client) => {
    await client.query("SELECT setseed($1)", [seed]);
    const dirs = Math.max(1, Math.ceil(files / 30));
    const { rows } = await client.query<{ dir_base: string; file_base: string }>(
      `SELECT coalesce((SELECT max(dir_id) FROM dir), 0) + 1 AS dir_base, coalesce((SELECT max(file_current_id) FROM file_current), 0) + 1 AS file_base`,
    );
    const { dir_base: dirBase, file_base: fileBase } = rows[0] as { dir_base: string; file_base: string };
    await client.query(
      `INSERT INTO dir (tenant_id, dir_id, share_id, path_digest, dir_path)
       SELECT $1, $3::bigint + n, $2, gen_random_uuid(), format('/%s/Project %s/d%s', (ARRAY['Active', 'Archive', 'archive', 'Übung'])[1 + n % 4], n % 97, n)
       FROM generate_series(0, $4::integer - 1) n`,
      [tenantId, shareId, dirBase, dirs],
    );
    await client.query(
      `INSERT INTO file_current (tenant_id, file_current_id, share_id, dir_id, name, file_extension, link_count, metadata_complete, stale_metadata,
         size_bytes, allocated_bytes, atime_unix, scanned_atime_unix, mtime_unix, ctime_unix, frn, owner, missing_since_scan_id)
       SELECT $1, $4::bigint + n, $2, $3::bigint + n % $6::integer, format('file %s.%s', n, e.extension), e.extension, CASE WHEN r.a < 0.05 THEN 2 WHEN r.a < 0.1 THEN NULL ELSE 1 END,
         r.b >= 0.05, r.b BETWEEN 0.05 AND 0.1, CASE WHEN r.b >= 0.05 THEN floor(exp(r.c * 22))::bigint - 1 END,
         CASE WHEN r.b >= 0.05 AND r.d > 0.1 THEN floor(exp(r.c * 22) / 4096)::bigint * 4096 END,
         CASE WHEN r.b >= 0.05 THEN $5::bigint - floor((r.d * 3300 - 5) * 86400)::bigint END, NULL,
         CASE WHEN r.b >= 0.05 THEN $5::bigint - floor((r.e * 3300 - 5) * 86400)::bigint END,
         CASE WHEN r.b >= 0.05 THEN $5::bigint - 86400 END, CASE WHEN r.e > 0.3 THEN n + 1 END, CASE WHEN r.d > 0.5 THEN 'alice' END,
         CASE WHEN r.c < 0.05 THEN 1 END
       FROM generate_series(0, $7::integer - 1) n
       CROSS JOIN LATERAL (SELECT random() AS a, random() AS b, random() AS c, random() AS d, random() AS e WHERE n >= 0) r
       CROSS JOIN LATERAL (SELECT (ARRAY['mov', 'jpg', 'txt', 'docx', ''])[1 + n % 5] AS extension) e`,
      [tenantId, shareId, dirBase, fileBase, nowUnix, dirs, files],
    );
    await client.query(
      `INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, wanted_action, planned_by, resident_until_utc, object_uri)
       SELECT $1, $2, $3::bigint + n, 's3://old', s.state, s.wanted, 'before', s.resident, 's3://old/x'
       FROM generate_series(0, $5::integer - 1) n
       CROSS JOIN LATERAL (VALUES (0, 'PLANNED', 'STUB', NULL::timestamptz), (1, 'STUBBED', NULL, NULL), (2, 'STUBBED', 'REHYDRATE', NULL),
         (3, 'REHYDRATED', NULL, to_timestamp($4::bigint + 1)), (4, 'REHYDRATED', NULL, to_timestamp($4::bigint)),
         (5, 'REHYDRATED', 'DELETE_TARGET', to_timestamp($4::bigint - 1)), (6, 'DELETED', NULL, NULL), (7, 'DELETED', 'DELETE_TARGET', NULL)) s (kind, state, wanted, resident)
       WHERE s.kind = (n::bigint * 7919) % 40`,
      [tenantId, shareId, fileBase, nowUnix, files],
    );
    await client.query("ANALYZE dir; ANALYZE file_current; ANALYZE tier_object");
  });
  return shareId;
}
