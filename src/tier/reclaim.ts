/**
 * Stubs that a scan took for the file: the mover had not announced them, and its report came after its lease had ended. The
 * inventory shows the file again; history, which says what the scan saw, is brought in step by the next listing.
 */
import type { ClientBase } from "pg";

/** Among the objects `tierIds` of a share whose lock is held. Returns how many. */
export async function reclaimStubs(client: ClientBase, tenantId: string, tierIds: readonly bigint[]): Promise<number> {
  const changed = await reclaimChanged(client, tenantId, tierIds);
  const replaced = await reclaimReplaced(client, tenantId, tierIds);
  const dirIds = [...new Set([...changed, ...replaced])];
  if (dirIds.length > 0)
    await client.query("UPDATE dir SET history_dirty = true WHERE tenant_id = $1 AND dir_id = ANY($2::bigint[])", [tenantId, dirIds]);
  return changed.length + replaced.length;
}

/** The same file, with the stub's size and mtime. Returns the directories. */
async function reclaimChanged(client: ClientBase, tenantId: string, tierIds: readonly bigint[]): Promise<bigint[]> {
  const { rows } = await client.query<{ dir_id: bigint }>(
    `WITH taken AS MATERIALIZED (
       SELECT c.file_current_id, t.planned_size_bytes, t.planned_mtime_unix, t.planned_frn FROM unnest($2::bigint[]) AS batch (tier_id)
       CROSS JOIN LATERAL (SELECT * FROM tier_object WHERE tenant_id = $1 AND tier_id = batch.tier_id OFFSET 0) t
       CROSS JOIN LATERAL (SELECT * FROM file_current WHERE tenant_id = $1 AND tenant_id = t.tenant_id AND file_current_id = t.file_current_id OFFSET 0) c
       WHERE t.state = 'STUBBED' AND c.missing_since_scan_id IS NULL AND c.size_bytes = t.stub_size_bytes AND c.mtime_unix = t.stub_mtime_unix
         AND (c.size_bytes <> t.planned_size_bytes OR c.mtime_unix <> t.planned_mtime_unix)
     )
     UPDATE file_current c SET size_bytes = n.planned_size_bytes, mtime_unix = n.planned_mtime_unix, frn = n.planned_frn, updated_utc = now()
     FROM taken n
     WHERE c.tenant_id = $1 AND c.file_current_id = ANY(ARRAY(SELECT file_current_id FROM taken)) AND c.file_current_id = n.file_current_id
     RETURNING c.dir_id`,
    [tenantId, [...tierIds]],
  );
  return rows.map(({ dir_id }) => dir_id);
}

/** Another file in its place, which is the stub: it goes missing, and the file is back. Returns the directories. */
async function reclaimReplaced(client: ClientBase, tenantId: string, tierIds: readonly bigint[]): Promise<bigint[]> {
  const { rows } = await client.query<{ file_current_id: bigint; dir_id: bigint }>(
    `WITH pair AS MATERIALIZED (
       SELECT c.file_current_id, c.dir_id, c.missing_since_scan_id, n.file_current_id AS taken_id FROM unnest($2::bigint[]) AS batch (tier_id)
       CROSS JOIN LATERAL (SELECT * FROM tier_object WHERE tenant_id = $1 AND tier_id = batch.tier_id OFFSET 0) t
       CROSS JOIN LATERAL (SELECT * FROM file_current WHERE tenant_id = $1 AND tenant_id = t.tenant_id AND file_current_id = t.file_current_id OFFSET 0) c
       CROSS JOIN LATERAL (
         SELECT * FROM file_current WHERE tenant_id = $1 AND tenant_id = c.tenant_id AND dir_id = c.dir_id AND name = c.name
           AND c.missing_since_scan_id IS NOT NULL AND missing_since_scan_id IS NULL OFFSET 0
       ) n
       WHERE t.state = 'STUBBED' AND n.size_bytes = t.stub_size_bytes AND n.mtime_unix = t.stub_mtime_unix
         AND NOT EXISTS (SELECT FROM tier_object o WHERE o.tenant_id = $1 AND o.file_current_id = n.file_current_id)
     )
     UPDATE file_current n SET missing_since_scan_id = p.missing_since_scan_id, updated_utc = now()
     FROM pair p
     WHERE n.tenant_id = $1 AND n.file_current_id = ANY(ARRAY(SELECT taken_id FROM pair)) AND n.file_current_id = p.taken_id
     RETURNING p.file_current_id, p.dir_id`,
    [tenantId, [...tierIds]],
  );
  // In a statement of its own: the path must be free before the file takes it.
  await client.query(
    "UPDATE file_current SET missing_since_scan_id = NULL, updated_utc = now() WHERE tenant_id = $1 AND file_current_id = ANY($2::bigint[])",
    [tenantId, rows.map(({ file_current_id }) => file_current_id)],
  );
  return rows.map(({ dir_id }) => dir_id);
}
