/**
 * Files that have been missing for long. One goes when nothing asks for it any more: it went missing at or before the last purge of
 * its share's history, no version is left that is it, and neither a tier object nor the audit log names it. Directories stay: servers keep
 * their ids in memory, and an empty one costs a row.
 */
import { lockShare } from "../ingest/locks.js";
import type { Bounds } from "./bounds.js";
import { beginJob, countRemoved } from "./jobs.js";
import { allowLongStatements, step, type Worker } from "./step.js";

/** Rows of a transaction. */
const batchRows = 5000;

interface Missing {
  file_current_id: bigint;
  missing_since_scan_id: bigint;
}

/** Shares whose history is kept whole keep all files. */
export async function pruneMissing(worker: Worker, { missingDays }: Bounds): Promise<void> {
  const { client, tenantId, signal } = worker;
  const { rows: shares } = await step(worker, async () => {
    await beginJob(client, tenantId, "missing_files");
    return client.query<{ share_id: bigint }>(
      "SELECT share_id FROM share WHERE tenant_id = $1 AND history_purged_to_scan_id IS NOT NULL AND erasing_utc IS NULL ORDER BY share_id",
      [tenantId],
    );
  });
  for (const { share_id: shareId } of shares) if (!signal.aborted) await pruneShare(worker, shareId, missingDays);
}

/** One look through the share's history for all of them, and only where there are any. */
async function pruneShare(worker: Worker, shareId: bigint, missingDays: number): Promise<void> {
  const { client, signal } = worker;
  if (!(await step(worker, () => findMissing(worker, shareId, missingDays)))) return;
  for (let more = true; more && !signal.aborted; ) {
    const { rows } = await client.query<Missing>(`FETCH ${batchRows} FROM prunable`);
    more = rows.length > 0;
    if (more) await step(worker, () => deleteMissing(worker, shareId, rows));
  }
  await client.query("CLOSE prunable");
}

/** False when no file has been missing for so long. */
async function findMissing({ client, tenantId }: Worker, shareId: bigint, missingDays: number): Promise<boolean> {
  const old = `SELECT c.file_current_id, c.missing_since_scan_id FROM file_current c
    JOIN share h ON h.tenant_id = $1 AND h.tenant_id = c.tenant_id AND h.share_id = c.share_id
    WHERE c.tenant_id = $1 AND c.share_id = $2 AND c.missing_since_scan_id > 0 AND c.missing_since_scan_id <= h.history_purged_to_scan_id
      AND c.updated_utc < now() - make_interval(days => $3)
      AND NOT EXISTS (SELECT FROM tier_object t WHERE t.tenant_id = $1 AND t.file_current_id = c.file_current_id)
      AND NOT EXISTS (SELECT FROM audit_log a WHERE a.tenant_id = $1 AND a.file_current_id = c.file_current_id)`;
  await client.query(allowLongStatements);
  const { rows } = await client.query<{ any: boolean }>(`SELECT EXISTS (${old}) AS any`, [tenantId, shareId, missingDays]);
  if (rows[0]?.any !== true) return false;
  await client.query("SET LOCAL cursor_tuple_fraction = 1; SET LOCAL enable_nestloop = off");
  await client.query(
    `DECLARE prunable NO SCROLL CURSOR WITH HOLD FOR ${old}
      AND NOT EXISTS (SELECT FROM file v WHERE v.tenant_id = $1 AND v.share_id = $2 AND v.file_current_id = c.file_current_id)`,
    [tenantId, shareId, missingDays],
  );
  return true;
}

/** Alone on the share: one that came back meanwhile is not missing since the same scan. */
async function deleteMissing({ client, tenantId }: Worker, shareId: bigint, rows: Missing[]): Promise<void> {
  await lockShare(client, shareId, "exclusive");
  const { rowCount } = await client.query(
    `DELETE FROM file_current c USING unnest($3::bigint[], $4::bigint[]) AS m (file_current_id, missing_since_scan_id)
     WHERE c.tenant_id = $1 AND c.share_id = $2 AND c.file_current_id = m.file_current_id AND c.missing_since_scan_id = m.missing_since_scan_id
       AND NOT EXISTS (SELECT FROM tier_object t WHERE t.tenant_id = $1 AND t.file_current_id = c.file_current_id)
       AND NOT EXISTS (SELECT FROM audit_log a WHERE a.tenant_id = $1 AND a.file_current_id = c.file_current_id)`,
    [tenantId, shareId, rows.map((row) => row.file_current_id), rows.map((row) => row.missing_since_scan_id)],
  );
  await countRemoved(client, tenantId, "missing_files", BigInt(rowCount ?? 0));
}
