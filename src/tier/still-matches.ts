/** Whether a planned file may still be tiered, asked as a mover claims it. */
import type { ClientBase } from "pg";
import { plainArray } from "../db/array-literals.js";

/** Which of the PLANNED objects `tierIds` still satisfy what they were planned by. Within the caller's transaction. */
export type StillMatches = (client: ClientBase, tenantId: string, tierIds: readonly bigint[]) => Promise<bigint[]>;

/** The least that must hold whatever the rule says: the file is there, and known to be as it was planned. */
export async function asPlanned(client: ClientBase, tenantId: string, tierIds: readonly bigint[]): Promise<bigint[]> {
  const { rows } = await client.query<{ tier_id: bigint }>(
    `SELECT t.tier_id FROM unnest($2::bigint[]) AS wanted (tier_id)
     CROSS JOIN LATERAL (SELECT * FROM tier_object WHERE tenant_id = $1 AND tier_id = wanted.tier_id OFFSET 0) t
     CROSS JOIN LATERAL (SELECT * FROM file_current WHERE tenant_id = $1 AND tenant_id = t.tenant_id AND file_current_id = t.file_current_id OFFSET 0) c
     WHERE t.state = 'PLANNED' AND c.missing_since_scan_id IS NULL
       AND c.metadata_complete AND NOT c.stale_metadata AND c.size_bytes = t.planned_size_bytes AND c.mtime_unix = t.planned_mtime_unix
       AND (c.frn IS NULL OR t.planned_frn IS NULL OR c.frn = t.planned_frn)`,
    [tenantId, plainArray([...tierIds])],
  );
  return rows.map((row) => row.tier_id);
}
