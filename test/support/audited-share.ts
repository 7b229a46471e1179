/** Shares that audit events change: how they are made, and what is stored of them. */
import { createClient } from "../../src/agent/client.js";
import { runScan } from "../../src/agent/push.js";
import { createPools } from "../../src/db/pool.js";
import { type Chunk, type Scan, ScanMode } from "../../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../../src/gen/frostline/v1/share_pb.js";
import { verify } from "../../src/verify/verify.js";
import { type TestDatabase, withClient } from "./postgres.js";
import type { TestServer } from "./server.js";
import type { TestTenant } from "./tenant.js";

/** What `frostline verify` finds, as lines. */
export async function violationsOf(database: TestDatabase): Promise<string[]> {
  const pools = createPools(database.runtimeUrl, { queryPoolMax: 1, ingestPoolMax: 1, onIdleError: () => {} });
  const found: string[] = [];
  try {
    for await (const { invariant, rows } of verify(pools.query)) found.push(...rows.map((row) => `${invariant}: ${row}`));
  } finally {
    await pools.end();
  }
  return found;
}

/** A tenant's share, on a server. */
export interface AuditedShare {
  server: Pick<TestServer, "address" | "database">;
  tenant: TestTenant;
  shareName: string;
}

/** A LucidLink share whose brake never holds. */
export async function createAuditedShare(server: AuditedShare["server"], tenant: TestTenant, shareName = "audited"): Promise<AuditedShare> {
  const client = createClient({ server: server.address, key: tenant.keys.operator });
  await client.unary(ShareService.method.createShare, { shareName, sourceType: SourceType.LUCIDLINK }).finally(client.close);
  await withClient(server.database.superuserUrl, (superuser) =>
    superuser.query("UPDATE share SET brake_percent = 100 WHERE tenant_id = $1", [tenant.tenantId]),
  );
  return { server, tenant, shareName };
}

/** A whole scan of what `source` gives. */
export async function scanShare(share: AuditedShare, source: () => AsyncIterable<Chunk>): Promise<Scan> {
  const client = createClient({ server: share.server.address, key: share.tenant.keys.agent });
  try {
    const options = {
      shareName: share.shareName,
      mode: ScanMode.FULL,
      uniqueFrn: true,
      exactListTimes: true,
      resume: "auto",
      source,
    } as const;
    return (await runScan(client, options)).scan;
  } finally {
    client.close();
  }
}

export interface LiveFile {
  id: string;
  atime: number;
  frn: string | null;
  sizeBytes: string | null;
}

/** Live files by path. */
export async function liveFiles({ server, tenant, shareName }: AuditedShare): Promise<Map<string, LiveFile>> {
  const { rows } = await withClient(server.database.superuserUrl, (client) =>
    client.query<{ path: string; id: string; atime: string; frn: string | null; size: string | null }>(
      `SELECT CASE d.dir_path WHEN '/' THEN '/' ELSE d.dir_path || '/' END || c.name AS path, c.file_current_id AS id, c.atime_unix AS atime,
         c.frn, c.size_bytes AS size
       FROM file_current c JOIN dir d USING (tenant_id, dir_id) JOIN share s ON s.tenant_id = c.tenant_id AND s.share_id = c.share_id
       WHERE c.tenant_id = $1 AND s.share_name = $2 AND c.missing_since_scan_id IS NULL`,
      [tenant.tenantId, shareName],
    ),
  );
  return new Map(rows.map(({ path, id, atime, frn, size }) => [path, { id, atime: Number(atime), frn, sizeBytes: size }]));
}

export async function liveDirectories({ server, tenant, shareName }: AuditedShare): Promise<string[]> {
  const { rows } = await withClient(server.database.superuserUrl, (client) =>
    client.query<{ dir_path: string }>(
      `SELECT d.dir_path FROM dir d JOIN share s USING (tenant_id, share_id)
       WHERE d.tenant_id = $1 AND s.share_name = $2 AND d.missing_since_scan_id IS NULL`,
      [tenant.tenantId, shareName],
    ),
  );
  return rows.map((row) => row.dir_path).sort();
}

/** Rows of the audit log, of how many different events they are, and how many are of files outside of the directory `apart`. */
export async function loggedAccesses(
  { server, tenant, shareName }: AuditedShare,
  apart = "/none",
): Promise<{ rows: number; events: number; outside: number }> {
  const { rows } = await withClient(server.database.superuserUrl, (client) =>
    client.query<{ rows: number; events: number; outside: number }>(
      `SELECT count(*)::integer AS rows, count(DISTINCT l.event_id)::integer AS events, (count(*) FILTER (WHERE NOT starts_with(d.dir_path, $2)))::integer AS outside
       FROM audit_log l JOIN file_current c USING (tenant_id, file_current_id) JOIN dir d USING (tenant_id, dir_id)
         JOIN share s ON s.tenant_id = c.tenant_id AND s.share_id = c.share_id
       WHERE l.tenant_id = $1 AND l.kind = 'access' AND s.share_name = $3`,
      [tenant.tenantId, apart, shareName],
    ),
  );
  return rows[0] as { rows: number; events: number; outside: number };
}

/** Paths that a scan's snapshot has. */
export async function snapshotPaths({ server, tenant }: AuditedShare, scanId: bigint): Promise<string[]> {
  const { rows } = await withClient(server.database.superuserUrl, (client) =>
    client.query<{ path: string }>(
      `SELECT CASE d.dir_path WHEN '/' THEN '/' ELSE d.dir_path || '/' END || v.name AS path
       FROM scan s CROSS JOIN LATERAL scan_snapshot(s.tenant_id, s.share_id, s.scan_id) v JOIN dir d ON d.tenant_id = v.tenant_id AND d.dir_id = v.dir_id
       WHERE s.tenant_id = $1 AND s.scan_id = $2`,
      [tenant.tenantId, scanId],
    ),
  );
  return rows.map((row) => row.path).sort();
}
