/**
 * Makes deliveries of alarms of shares: a last complete scan that is too old, that it is no more, and a scan whose brake holds. The mark that it was
 * told is set in the same statement, so each is told once, whichever server finds it.
 */
import type { ClientBase } from "pg";

/** All there are: returns false, nothing is left. Within a transaction of the tenant. */
export async function findShareAlarms(client: ClientBase, tenantId: string): Promise<false> {
  await findStale(client, tenantId);
  await findRecovered(client, tenantId);
  await findBrakes(client, tenantId);
  return false;
}

async function findStale(client: ClientBase, tenantId: string): Promise<void> {
  await client.query(
    `WITH due AS MATERIALIZED (
       SELECT share_id FROM share WHERE tenant_id = $1 AND stale_told_utc IS NULL AND erasing_utc IS NULL
         AND coalesce(last_complete_utc, created_utc) < now() - make_interval(secs => stale_scan_alarm_seconds)
       FOR UPDATE SKIP LOCKED
     ), told AS (
       UPDATE share h SET stale_told_utc = now() FROM due WHERE h.tenant_id = $1 AND h.share_id = due.share_id
       RETURNING h.share_id, jsonb_build_object('staleScanAlarmSeconds', h.stale_scan_alarm_seconds::text, 'lastCompleteTime', h.last_complete_utc,
         'lastCompleteScanId', coalesce(h.last_complete_scan_id, 0)::text) AS facts
     )
     INSERT INTO webhook_delivery (tenant_id, webhook_id, event_type, share_id, facts, next_attempt_utc)
     SELECT $1, w.webhook_id, 'scan.stale', t.share_id, t.facts, now() FROM told t JOIN webhook w ON w.share_id IS NULL OR w.share_id = t.share_id
     WHERE w.tenant_id = $1 AND w.disabled_utc IS NULL AND 'scan.stale' = ANY (w.event_types)`,
    [tenantId],
  );
}

/** Also of a share whose alarm was turned off or set higher since, but then nothing is told. */
async function findRecovered(client: ClientBase, tenantId: string): Promise<void> {
  await client.query(
    `WITH due AS MATERIALIZED (
       SELECT share_id, last_complete_utc > stale_told_utc AS scanned FROM share WHERE tenant_id = $1 AND stale_told_utc IS NOT NULL
         AND coalesce(coalesce(last_complete_utc, created_utc) >= now() - make_interval(secs => stale_scan_alarm_seconds), true)
       FOR UPDATE SKIP LOCKED
     ), over AS (
       UPDATE share h SET stale_told_utc = NULL FROM due WHERE h.tenant_id = $1 AND h.share_id = due.share_id
       RETURNING h.share_id, due.scanned,
         jsonb_build_object('lastCompleteTime', h.last_complete_utc, 'lastCompleteScanId', coalesce(h.last_complete_scan_id, 0)::text) AS facts
     )
     INSERT INTO webhook_delivery (tenant_id, webhook_id, event_type, share_id, facts, next_attempt_utc)
     SELECT $1, w.webhook_id, 'scan.recovered', o.share_id, o.facts, now() FROM over o JOIN webhook w ON w.share_id IS NULL OR w.share_id = o.share_id
     WHERE o.scanned AND w.tenant_id = $1 AND w.disabled_utc IS NULL AND 'scan.recovered' = ANY (w.event_types)`,
    [tenantId],
  );
}

async function findBrakes(client: ClientBase, tenantId: string): Promise<void> {
  await client.query(
    `WITH due AS MATERIALIZED (
       SELECT scan_id FROM scan WHERE tenant_id = $1 AND status = 'RUNNING' AND brake_wanted IS NOT NULL AND brake_confirmed_utc IS NULL AND brake_told_utc IS NULL
       FOR UPDATE SKIP LOCKED
     ), told AS (
       UPDATE scan s SET brake_told_utc = now() FROM due WHERE s.tenant_id = $1 AND s.scan_id = due.scan_id
       RETURNING s.share_id, jsonb_build_object('scanId', s.scan_id::text, 'filesGone', s.brake_wanted::text, 'brakeLimit', s.brake_limit::text) AS facts
     )
     INSERT INTO webhook_delivery (tenant_id, webhook_id, event_type, share_id, facts, next_attempt_utc)
     SELECT $1, w.webhook_id, 'scan.brake', t.share_id, t.facts, now() FROM told t JOIN webhook w ON w.share_id IS NULL OR w.share_id = t.share_id
     WHERE w.tenant_id = $1 AND w.disabled_utc IS NULL AND 'scan.brake' = ANY (w.event_types)`,
    [tenantId],
  );
}
