/** How much history is kept: of the tenant, or of one share. */
import type { ClientBase } from "pg";
import { invalidField } from "../tenancy/validate.js";
import { assertDays } from "./bounds.js";

export interface Policy {
  /** Null: of every share that has none of its own. */
  shareName: string | null;
  keepScans: number | null;
  keepDays: number | null;
}

const scansAtMost = 1_000_000;

/** The tenant's first, then by share. Within a transaction of the tenant. */
export async function listPolicies(client: ClientBase, tenantId: string): Promise<Policy[]> {
  const { rows } = await client.query<Policy>(
    `SELECT s.share_name AS "shareName", p.keep_scans AS "keepScans", p.keep_days AS "keepDays"
     FROM retention_policy p LEFT JOIN share s ON s.tenant_id = p.tenant_id AND s.share_id = p.share_id
     WHERE p.tenant_id = $1 ORDER BY s.share_name NULLS FIRST`,
    [tenantId],
  );
  return rows;
}

/** Takes the place of the one there was; without scans and days, there is none any more. Throws INVALID_ARGUMENT. Within a transaction of the tenant. */
export async function setPolicy(
  client: ClientBase,
  tenantId: string,
  shareId: bigint | undefined,
  { keepScans, keepDays }: { keepScans?: number | undefined; keepDays?: number | undefined },
): Promise<void> {
  if (keepScans !== undefined && !(keepScans >= 1 && keepScans <= scansAtMost)) {
    throw invalidField("keep_scans", `is ${keepScans}; it must be from 1 to ${scansAtMost}.`);
  }
  if (keepDays !== undefined) assertDays("keep_days", keepDays);
  if (keepScans === undefined && keepDays === undefined) {
    await client.query("DELETE FROM retention_policy WHERE tenant_id = $1 AND coalesce(share_id, 0) = coalesce($2::bigint, 0)", [
      tenantId,
      shareId,
    ]);
    return;
  }
  // Of two that set it at once, the later one's holds.
  await client.query(
    `INSERT INTO retention_policy (tenant_id, share_id, keep_scans, keep_days) VALUES ($1, $2, $3, $4)
     ON CONFLICT (tenant_id, coalesce(share_id, 0)) DO UPDATE SET keep_scans = excluded.keep_scans, keep_days = excluded.keep_days`,
    [tenantId, shareId, keepScans, keepDays],
  );
}
