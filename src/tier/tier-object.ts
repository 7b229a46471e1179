/** A tier object as it is shown. */
import type { ClientBase } from "pg";
import { plainArray } from "../db/array-literals.js";
import type { SourceType } from "../paths.js";
import type { TierState, WantedAction } from "./transitions.js";

export interface TierObjectRow {
  tier_id: bigint;
  share_name: string;
  src_type: SourceType;
  dir_path: string;
  name: string;
  missing: boolean;
  file_current_id: bigint;
  state: TierState;
  wanted_action: WantedAction | null;
  target_uri: string;
  object_uri: string | null;
  state_reason: string | null;
  rule_id: bigint | null;
  rule_name: string | null;
  rule_version: number | null;
  planned_by: string;
  planned_utc: Date;
  acted_utc: Date | null;
  planned_size_bytes: bigint | null;
  planned_mtime_unix: bigint | null;
  planned_frn: bigint | null;
  stub_size_bytes: bigint | null;
  stub_mtime_unix: bigint | null;
  stub_frn: bigint | null;
  last_accessed_utc: Date | null;
  access_count: bigint;
  lease_holder: string | null;
  lease_until_utc: Date | null;
  attempts: number;
  retry_after_utc: Date | null;
  resident_until_utc: Date | null;
  rehydration_count: number;
}

/** Objects by id, ascending; those that do not exist are left out. */
export async function readTierObjects(client: ClientBase, tenantId: string, tierIds: readonly bigint[]): Promise<TierObjectRow[]> {
  const { rows } = await client.query<TierObjectRow>(
    `SELECT t.tier_id, h.share_name, h.src_type, d.dir_path, c.name, c.missing_since_scan_id IS NOT NULL AS missing, t.file_current_id, t.state,
       t.wanted_action, t.target_uri, t.object_uri, t.state_reason, t.rule_id, r.rule_name, t.rule_version, t.planned_by, t.planned_utc, t.acted_utc,
       t.planned_size_bytes, t.planned_mtime_unix, t.planned_frn, t.stub_size_bytes, t.stub_mtime_unix, t.stub_frn, t.last_accessed_utc,
       t.access_count, t.lease_holder, t.lease_until_utc, t.attempts, t.retry_after_utc, t.resident_until_utc, t.rehydration_count
     FROM unnest($2::bigint[]) AS wanted (tier_id)
     CROSS JOIN LATERAL (SELECT * FROM tier_object WHERE tenant_id = $1 AND tier_id = wanted.tier_id OFFSET 0) t
     CROSS JOIN LATERAL (SELECT * FROM file_current WHERE tenant_id = $1 AND tenant_id = t.tenant_id AND file_current_id = t.file_current_id OFFSET 0) c
     CROSS JOIN LATERAL (SELECT dir_path FROM dir WHERE tenant_id = $1 AND tenant_id = c.tenant_id AND dir_id = c.dir_id OFFSET 0) d
     JOIN share h ON h.tenant_id = t.tenant_id AND h.share_id = t.share_id
     LEFT JOIN tier_rule r ON r.tenant_id = t.tenant_id AND r.rule_id = t.rule_id
     WHERE h.tenant_id = $1
     ORDER BY t.tier_id`,
    [tenantId, plainArray([...tierIds])],
  );
  return rows;
}
