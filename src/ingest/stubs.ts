/**
 * Tiered files among what a scan listed. A scan never opens a file: it knows a stub by the size and mtime that its mover
 * announced or reported, and then the file goes on having the values that it had before. Under its own path a number does
 * not matter: one that differs from the stub's is a volume that was restored or moved. Under another path it must agree too.
 *
 * | listed in the place of a tiered file | then |
 * |---|---|
 * | its stub | nothing is different |
 * | something else, or the file itself with other times, while a mover is at work on it | nothing is said, until the mover reports or its lease ends |
 * | the file as it was planned, by a listing that may be older than the stub | nothing is said |
 * | anything else in the place of a stub | the file has changed, and its object is REHYDRATED, with the reason |
 *
 * All of it looks at differences, which are few: what agrees with the current state is no stub. $1 is always the tenant.
 */
import type { PoolClient } from "pg";
import { changeStates } from "../tier/change-state.js";
import { overwrittenReason, writtenReason } from "../tier/reconcile.js";
import type { ShareRef } from "./directories.js";
import { clockMarginSeconds } from "./reconcile.js";

/** Whether a file of the share was ever planned to be tiered: the one look that all other shares cost. */
export async function anyTiered(client: PoolClient, { tenantId, shareId }: ShareRef): Promise<boolean> {
  const { rows } = await client.query<{ tiered: boolean }>(
    "SELECT EXISTS (SELECT FROM tier_object WHERE tenant_id = $1 AND share_id = $2) AS tiered",
    [tenantId, shareId],
  );
  return rows[0]?.tiered === true;
}

/** Between the comparison and what is written of it: takes out of staging_diff what only a stub makes different. */
export async function recognizeStubs(client: PoolClient, share: ShareRef, scanId: bigint): Promise<void> {
  await client.query("ANALYZE staging_diff");
  const judged = await judgeInPlace(client, share.tenantId);
  if (judged.stubs > 0) await confirmStubs(client, share.tenantId);
  if (judged.overwritten > 0) await giveUpStubs(client, share.tenantId);
  await client.query("DELETE FROM staging_diff WHERE tenant_id = $1 AND kind IN ('T', 'U')", [share.tenantId]);
  if ((await findElsewhere(client, share)) > 0) await showAsFiles(client, share.tenantId, scanId);
}

/** Marks differences of tiered files: T, it is the stub; U, nothing is to be said; O, the stub was overwritten. */
async function judgeInPlace(client: PoolClient, tenantId: string): Promise<{ stubs: number; overwritten: number }> {
  const { rows } = await client.query<{ stubs: number; overwritten: number }>(
    `WITH seen AS (
       SELECT d.tenant_id, d.file_current_id, d.kind, s.frn = t.stub_frn AS is_restored, t.state, t.wanted_action, t.stub_size_bytes IS NOT NULL AS announced,
         coalesce(s.size_bytes = t.stub_size_bytes AND s.mtime_unix = t.stub_mtime_unix, false) AS is_stub,
         coalesce(s.size_bytes = t.planned_size_bytes AND s.mtime_unix = t.planned_mtime_unix, false) AS is_planned,
         coalesce(t.lease_until_utc > coalesce(l.listed_utc, now()) - make_interval(secs => $2), false) AS at_work,
         coalesce(t.acted_utc > l.listed_utc - make_interval(secs => $2), false) AS maybe_older
       FROM staging_diff d
       JOIN staging_file s ON s.tenant_id = d.tenant_id AND s.ordinal = d.ordinal
       JOIN staging_dir l ON l.tenant_id = s.tenant_id AND l.dir_id = s.dir_id
       CROSS JOIN LATERAL (
         SELECT * FROM tier_object WHERE tenant_id = $1 AND tenant_id = d.tenant_id AND file_current_id = d.file_current_id OFFSET 0
       ) t
       WHERE d.tenant_id = $1 AND s.tenant_id = $1 AND l.tenant_id = $1 AND d.kind IN ('C', 'X')
     ), judged AS (
       SELECT tenant_id, file_current_id, CASE
           WHEN is_stub AND (state <> 'REHYDRATED' OR maybe_older) THEN 'T'::"char"
           -- A mover that reads the file, or keeps it under another name for a moment, changes its times and links.
           WHEN state = 'PLANNED' AND at_work AND (is_planned OR NOT announced) THEN 'U'::"char"
           WHEN state = 'STUBBED' AND at_work AND wanted_action = 'REHYDRATE' THEN 'U'::"char"
           WHEN state = 'STUBBED' AND maybe_older AND is_planned THEN 'U'::"char"
           WHEN state = 'STUBBED' THEN 'O'::"char"
           -- Edited before a scan knew of the number that it has since it came back.
           WHEN state = 'REHYDRATED' AND kind = 'X' AND is_restored THEN 'C'::"char"
         END AS verdict
       FROM seen
     ), told AS (
       UPDATE staging_diff d SET kind = j.verdict FROM judged j
       WHERE d.tenant_id = $1 AND d.tenant_id = j.tenant_id AND d.file_current_id = j.file_current_id AND d.kind IN ('C', 'X') AND j.verdict IS NOT NULL
       RETURNING d.kind
     )
     SELECT count(*) FILTER (WHERE kind = 'T')::integer AS stubs, count(*) FILTER (WHERE kind = 'O')::integer AS overwritten FROM told`,
    [tenantId, clockMarginSeconds],
  );
  return rows[0] as { stubs: number; overwritten: number };
}

/** An audit event may have told of a write, the mover's own: the file is as it was. A stub may have a new number. */
async function confirmStubs(client: PoolClient, tenantId: string): Promise<void> {
  await client.query(
    `UPDATE file_current c SET stale_metadata = false, updated_utc = now()
     FROM staging_diff d
     WHERE d.tenant_id = $1 AND c.tenant_id = $1 AND c.tenant_id = d.tenant_id AND c.file_current_id = d.file_current_id AND d.kind = 'T' AND c.stale_metadata`,
    [tenantId],
  );
  await client.query(
    `UPDATE tier_object t SET stub_frn = s.frn, state_reason = nullif(t.state_reason, $2)
     FROM staging_diff d JOIN staging_file s ON s.tenant_id = d.tenant_id AND s.ordinal = d.ordinal
     WHERE d.tenant_id = $1 AND s.tenant_id = $1 AND t.tenant_id = $1 AND t.tenant_id = d.tenant_id AND t.file_current_id = d.file_current_id
       AND d.kind = 'T' AND t.state = 'STUBBED' AND (s.frn IS DISTINCT FROM t.stub_frn OR t.state_reason = $2)`,
    [tenantId, writtenReason],
  );
}

/** The file changed like any other, but stays the same one, so that its object tells what became of it. */
async function giveUpStubs(client: PoolClient, tenantId: string): Promise<void> {
  const { rows } = await client.query<{ tier_id: bigint }>(
    `SELECT t.tier_id FROM staging_diff d CROSS JOIN LATERAL (
       SELECT tier_id FROM tier_object WHERE tenant_id = $1 AND tenant_id = d.tenant_id AND file_current_id = d.file_current_id OFFSET 0
     ) t WHERE d.tenant_id = $1 AND d.kind = 'O'`,
    [tenantId],
  );
  await changeStates(
    client,
    tenantId,
    { to: "REHYDRATED", cause: "stub_overwritten", leased: false },
    rows.map(({ tier_id }) => ({ tierId: tier_id, reason: overwrittenReason, actor: "" })),
  );
  await client.query("UPDATE staging_diff SET kind = 'C' WHERE tenant_id = $1 AND kind = 'O'", [tenantId]);
}

/**
 * Among the added: stubs that are back under the path where their file went missing, and stubs under another name. Their
 * files' rows go into other_file_current_id. Returns how many.
 */
async function findElsewhere(client: PoolClient, { tenantId, shareId }: ShareRef): Promise<number> {
  const { rowCount } = await client.query(
    `UPDATE staging_diff d SET other_file_current_id = found.file_current_id
     FROM staging_file s CROSS JOIN LATERAL (
       SELECT t.file_current_id FROM file_current m JOIN tier_object t ON t.tenant_id = m.tenant_id AND t.file_current_id = m.file_current_id
       WHERE m.tenant_id = $1 AND t.tenant_id = $1 AND m.dir_id = s.dir_id AND m.name = s.name AND m.missing_since_scan_id IS NOT NULL
         AND t.stub_size_bytes = s.size_bytes AND t.stub_mtime_unix = s.mtime_unix AND t.state <> 'REHYDRATED'
       UNION ALL
       SELECT t.file_current_id FROM tier_object t
       WHERE t.tenant_id = $1 AND t.share_id = $2 AND t.stub_frn = s.frn AND t.stub_size_bytes = s.size_bytes AND t.stub_mtime_unix = s.mtime_unix
         AND t.state <> 'REHYDRATED'
       UNION ALL
       -- Restored, and renamed before a scan knew of its new number.
       SELECT t.file_current_id FROM tier_object t
       WHERE t.tenant_id = $1 AND t.share_id = $2 AND t.stub_frn = s.frn AND t.planned_size_bytes = s.size_bytes AND t.planned_mtime_unix = s.mtime_unix
         AND t.state = 'REHYDRATED'
       LIMIT 1
     ) found
     WHERE d.tenant_id = $1 AND s.tenant_id = $1 AND d.kind = 'A' AND s.ordinal = d.ordinal`,
    [tenantId, shareId],
  );
  return rowCount ?? 0;
}

/**
 * What was listed of such a stub becomes what is known of its file: from here on it is a file that moved, or came back,
 * like any other. A file that an earlier scan missed takes the stub's path, so that it is found to be back there; one that
 * this scan missed, or has not come to yet, is matched when the scan finishes.
 */
async function showAsFiles(client: PoolClient, tenantId: string, scanId: bigint): Promise<void> {
  await client.query(
    `UPDATE staging_file s SET size_bytes = c.size_bytes, allocated_bytes = c.allocated_bytes, atime_unix = c.scanned_atime_unix,
       mtime_unix = c.mtime_unix, ctime_unix = c.ctime_unix, frn = c.frn, owner = c.owner, link_count = c.link_count, file_hash = c.file_hash
     FROM staging_diff d CROSS JOIN LATERAL (
       SELECT * FROM file_current WHERE tenant_id = $1 AND tenant_id = d.tenant_id AND file_current_id = d.other_file_current_id AND metadata_complete OFFSET 0
     ) c
     WHERE d.tenant_id = $1 AND s.tenant_id = $1 AND d.kind = 'A' AND s.ordinal = d.ordinal`,
    [tenantId],
  );
  await client.query(
    `UPDATE staging_diff d SET file_hash = s.file_hash FROM staging_file s
     WHERE d.tenant_id = $1 AND s.tenant_id = $1 AND d.kind = 'A' AND d.other_file_current_id IS NOT NULL AND s.ordinal = d.ordinal`,
    [tenantId],
  );
  await client.query(
    `UPDATE file_current c SET dir_id = s.dir_id, name = s.name, file_extension = s.file_extension
     FROM staging_diff d JOIN staging_file s ON s.tenant_id = d.tenant_id AND s.ordinal = d.ordinal
     WHERE d.tenant_id = $1 AND s.tenant_id = $1 AND c.tenant_id = $1 AND c.tenant_id = d.tenant_id AND c.file_current_id = d.other_file_current_id
       AND d.kind = 'A' AND c.missing_since_scan_id <> $2`,
    [tenantId, scanId],
  );
}
