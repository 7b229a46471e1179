/** Rows for tests that go through all tables. */
import { withClient } from "./postgres.js";

/** A row in every table that has a tenant; a new table needs one here. */
export async function fillEveryTable(url: string, tenantId: string): Promise<void> {
  await withClient(url, async (client) => {
    await client.query(`BEGIN; SET LOCAL app.tenant_id = '${tenantId}'`);
    const { rows } = await client.query<{ share_id: string }>(
      "INSERT INTO share (tenant_id, share_name, src_type, case_sensitive) VALUES ($1, 'films', 'NTFS', false) RETURNING share_id",
      [tenantId],
    );
    await client.query(rowsOfOneShare(tenantId, rows[0]?.share_id as string));
    await client.query("COMMIT");
  });
}

function rowsOfOneShare(tenant: string, share: string): string {
  return `
    INSERT INTO scan (tenant_id, scan_id, share_id, src_type, mode, brake_limit) VALUES ('${tenant}', 1, ${share}, 'NTFS', 'FULL', 1);
    INSERT INTO scan_writer (tenant_id, scan_id, writer) VALUES ('${tenant}', 1, 'main');
    INSERT INTO ingest_chunk VALUES ('${tenant}', 1, 'main', 0);
    INSERT INTO scan_problem VALUES ('${tenant}', 1, 'main', 0, 0, 0, '/', 'x', 'why');
    INSERT INTO dir (tenant_id, dir_id, share_id, path_digest, dir_path) VALUES ('${tenant}', 1, ${share}, gen_random_uuid(), '/');
    INSERT INTO file (tenant_id, share_id, dir_id, name, scan_id, change, file_current_id) VALUES ('${tenant}', ${share}, 1, 'x', 1, 'A', 1);
    INSERT INTO file_current (tenant_id, file_current_id, share_id, dir_id, name) VALUES ('${tenant}', 1, ${share}, 1, 'x');
    INSERT INTO lucid_audit_cursor (tenant_id, volume_id, audit_file_path) VALUES ('${tenant}', 'v', 'f');
    INSERT INTO audit_exclusion (tenant_id, share_id, kind, value) VALUES ('${tenant}', ${share}, 'user', 'backup');
    INSERT INTO audit_waiting (tenant_id, share_id, dir_digest, name, path, event_micros, event_id) VALUES ('${tenant}', ${share}, '${tenant}', 'f', '/f', 1, 'e');
    INSERT INTO lucid_audit_processed VALUES ('${tenant}', 'v', 'e');
    INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, source) VALUES ('${tenant}', 'access', ${share}, 1, 'test');
    INSERT INTO tier_rule (tenant_id, version, rule_name, priority, expression, target_uri, created_by) VALUES ('${tenant}', 1, 'r', 1, 'true', 's3://x', 'who');
    INSERT INTO tier_plan (tenant_id, share_id, plan_no, request_id, scan_id, now_unix, planned_by, brake_confirmed, planned_files, planned_bytes,
      planned_allocated_bytes, funnel) VALUES ('${tenant}', ${share}, 1, '${tenant}', 1, 0, 'who', false, 0, 0, 0, '[]');
    INSERT INTO hold (tenant_id, share_id, path_glob, reason, created_by) VALUES ('${tenant}', ${share}, '**', 'why', 'who');
    INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, planned_by) VALUES ('${tenant}', ${share}, 1, 's3://x', 'PLANNED', 'who');
    INSERT INTO warming_position VALUES ('${tenant}', 2);
    INSERT INTO warming_event (tenant_id, position, tier_id, share_id, event_utc, recorded_utc)
      SELECT tenant_id, 1, tier_id, share_id, now(), now() FROM tier_object WHERE tenant_id = '${tenant}';
    INSERT INTO warming_storm VALUES ('${tenant}', 2, ${share}, now(), now(), now(), 2, 1, 2, now());
    INSERT INTO webhook (tenant_id, webhook_id, url, description, event_types, include_paths, include_people, secret, warming_position, created_by)
      VALUES ('${tenant}', '${tenant}', 'https://x', '', '{scan.stale}', false, false, 's1.1.x', 0, 'who');
    INSERT INTO webhook_delivery (tenant_id, webhook_id, event_type, share_id, next_attempt_utc)
      VALUES ('${tenant}', '${tenant}', 'scan.stale', ${share}, now());
    INSERT INTO retention_policy (tenant_id, keep_scans) VALUES ('${tenant}', 3);
    INSERT INTO retention_bound (tenant_id, audit_log_days) VALUES ('${tenant}', 9);
    INSERT INTO retention_job VALUES ('${tenant}', 'history', now(), 0, 0);
    INSERT INTO erasure (tenant_id, kind, share_id, requested_by) VALUES ('${tenant}', 'SHARE', ${share}, 'who');`;
}
