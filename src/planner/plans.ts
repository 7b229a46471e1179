/** The record of plans that were made. */
import type { ClientBase, Pool } from "pg";
import { readTenant } from "../db/tenant.js";
import { requireShare, type Share } from "../tenancy/shares.js";
import type { StoredFunnel } from "./funnel-json.js";

export interface Plan {
  planId: bigint;
  shareName: string;
  planNo: number;
  requestId: string;
  scanId: bigint;
  nowUnix: bigint;
  plannedBy: string;
  plannedUtc: Date;
  brakeConfirmed: boolean;
  funnel: StoredFunnel;
}

interface PlanRow {
  plan_id: bigint;
  share_name: string;
  plan_no: number;
  request_id: string;
  scan_id: bigint;
  now_unix: bigint;
  planned_by: string;
  planned_utc: Date;
  brake_confirmed: boolean;
  funnel: StoredFunnel;
}

function toPlan(row: PlanRow): Plan {
  return {
    planId: row.plan_id,
    shareName: row.share_name,
    planNo: row.plan_no,
    requestId: row.request_id,
    scanId: row.scan_id,
    nowUnix: row.now_unix,
    plannedBy: row.planned_by,
    plannedUtc: row.planned_utc,
    brakeConfirmed: row.brake_confirmed,
    funnel: row.funnel,
  };
}

export async function findPlan(client: ClientBase, tenantId: string, requestId: string): Promise<Plan | undefined> {
  const { rows } = await client.query<PlanRow>(
    `SELECT p.plan_id, h.share_name, p.plan_no, p.request_id, p.scan_id, p.now_unix, p.planned_by, p.planned_utc, p.brake_confirmed, p.funnel
     FROM tier_plan p JOIN share h ON h.tenant_id = p.tenant_id AND h.share_id = p.share_id
     WHERE p.tenant_id = $1 AND h.tenant_id = $1 AND p.request_id = $2`,
    [tenantId, requestId],
  );
  return rows.map(toPlan)[0];
}

/** Takes the share's next number: of two plans at a time, one gets a unique violation on tier_plan. */
export async function insertPlan(
  client: ClientBase,
  tenantId: string,
  share: Share,
  plan: { requestId: string; nowUnix: bigint; plannedBy: string; confirmBrake: boolean; funnel: StoredFunnel },
): Promise<Plan> {
  const { planned } = plan.funnel;
  const { rows } = await client.query<Omit<PlanRow, "share_name">>(
    `INSERT INTO tier_plan (tenant_id, share_id, plan_no, request_id, scan_id, now_unix, planned_by, brake_confirmed, planned_files, planned_bytes,
       planned_allocated_bytes, funnel)
     SELECT $1, $2, (SELECT coalesce(max(plan_no), 0) + 1 FROM tier_plan WHERE tenant_id = $1 AND share_id = $2), $3, $4, $5, $6, $7,
       LEAST($8::numeric, 9223372036854775807), LEAST($9::numeric, 9223372036854775807), LEAST($10::numeric, 9223372036854775807), $11
     RETURNING plan_id, plan_no, request_id, scan_id, now_unix, planned_by, planned_utc, brake_confirmed, funnel`,
    [
      tenantId,
      share.share_id,
      plan.requestId,
      share.last_complete_scan_id,
      plan.nowUnix,
      plan.plannedBy,
      plan.confirmBrake,
      planned.files,
      planned.bytes,
      planned.allocated_bytes,
      JSON.stringify(plan.funnel),
    ],
  );
  return toPlan({ ...(rows[0] as Omit<PlanRow, "share_name">), share_name: share.share_name });
}

/** Of one share, the newest first, numbered below `beforeNo`. Throws NOT_FOUND (share). */
export async function listPlans(
  pool: Pool,
  tenantId: string,
  shareName: string,
  beforeNo: number | undefined,
  limit: number,
): Promise<Plan[]> {
  return readTenant(pool, tenantId, async (client) => {
    const share = await requireShare(client, tenantId, shareName);
    const { rows } = await client.query<PlanRow>(
      `SELECT p.plan_id, h.share_name, p.plan_no, p.request_id, p.scan_id, p.now_unix, p.planned_by, p.planned_utc, p.brake_confirmed, p.funnel
       FROM tier_plan p JOIN share h ON h.tenant_id = p.tenant_id AND h.share_id = p.share_id
       WHERE p.tenant_id = $1 AND h.tenant_id = $1 AND p.share_id = $2 AND ($3::integer IS NULL OR p.plan_no < $3) ORDER BY p.plan_no DESC LIMIT $4`,
      [tenantId, share.share_id, beforeNo ?? null, limit],
    );
    return rows.map(toPlan);
  });
}
