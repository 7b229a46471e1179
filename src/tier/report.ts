/** Movers tell what became of their claims. One transaction for a batch; an item that is refused does not keep the others. */
import type { ClientBase, Pool } from "pg";
import { plainArray } from "../db/array-literals.js";
import { inTenant } from "../db/tenant.js";
import * as apply from "./apply-report.js";
import { judge, type Report, type ReportedObject, type Verdict } from "./judge.js";
import { planByIds } from "./plan-by-ids.js";
import type { TierState, WantedAction } from "./transitions.js";

export interface ReportResult {
  tierId: bigint;
  verdict: Verdict;
  /** Of an accepted progress. */
  leaseUntilUtc: Date | undefined;
}

/** A report that was accepted, and is news. */
export type Accepted = Report & { object: ReportedObject; state: TierState };

/** Results in the order of `reports`, which name each object at most once. */
export async function reportTierObjects(pool: Pool, tenantId: string, reports: readonly Report[]): Promise<ReportResult[]> {
  return inTenant(pool, tenantId, async (client) => {
    await planByIds(client);
    const objects = await lockReported(
      client,
      tenantId,
      reports.map(({ tierId }) => tierId),
    );
    const results = reports.map((report): ReportResult => {
      const verdict = judge(objects.get(report.tierId), report);
      return { tierId: report.tierId, verdict, leaseUntilUtc: undefined };
    });
    const accepted = reports.flatMap((report, at): Accepted[] => {
      const verdict = results[at]?.verdict;
      const object = objects.get(report.tierId);
      return object && verdict?.accepted && !verdict.repeated ? [{ ...report, object, state: verdict.state }] : [];
    });
    const renewed = await apply.applyReports(client, tenantId, accepted);
    for (const result of results) result.leaseUntilUtc = renewed.get(result.tierId);
    return results;
  });
}

interface Row {
  tier_id: bigint;
  state: TierState;
  wanted_action: WantedAction | null;
  lease_holder: string | null;
  lease_token: string | null;
  object_uri: string | null;
  planned_size_bytes: bigint | null;
  planned_mtime_unix: bigint | null;
  planned_frn: bigint | null;
  stub_size_bytes: bigint | null;
  stub_mtime_unix: bigint | null;
  stub_frn: bigint | null;
  reported_token: string | null;
  reported_outcome: string | null;
  reported_state: TierState | null;
}

async function lockReported(client: ClientBase, tenantId: string, tierIds: bigint[]): Promise<Map<bigint, ReportedObject>> {
  const { rows } = await client.query<Row>(
    `SELECT tier_id, state, wanted_action, lease_holder, lease_token, object_uri, planned_size_bytes, planned_mtime_unix, planned_frn, stub_size_bytes,
       stub_mtime_unix, stub_frn, reported_token, reported_outcome, reported_state
     FROM tier_object WHERE tenant_id = $1 AND tier_id = ANY($2::bigint[]) ORDER BY tier_id FOR UPDATE`,
    [tenantId, plainArray(tierIds)],
  );
  return new Map(rows.map((row) => [row.tier_id, toObject(row)]));
}

function toObject(row: Row): ReportedObject {
  return {
    tierId: row.tier_id,
    state: row.state,
    wantedAction: row.wanted_action,
    leaseHolder: row.lease_holder,
    leaseToken: row.lease_token,
    planned: toStamp(row.planned_size_bytes, row.planned_mtime_unix, row.planned_frn),
    stub: toStamp(row.stub_size_bytes, row.stub_mtime_unix, row.stub_frn),
    objectUri: row.object_uri,
    reportedToken: row.reported_token,
    reportedOutcome: row.reported_outcome,
    reportedState: row.reported_state,
  };
}

function toStamp(sizeBytes: bigint | null, mtimeUnix: bigint | null, frn: bigint | null) {
  return sizeBytes === null || mtimeUnix === null ? undefined : { sizeBytes, mtimeUnix, frn };
}
