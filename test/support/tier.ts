/** Tier objects for tests: planned by hand, worked on as a mover would, without one. */
import { claimTierObjects } from "../../src/tier/claim.js";
import type { FileStamp, Outcome } from "../../src/tier/judge.js";
import { type ReportResult, reportTierObjects } from "../../src/tier/report.js";
import { asPlanned } from "../../src/tier/still-matches.js";
import type { WantedAction } from "../../src/tier/transitions.js";
import type { FakeFile, IngestFixture } from "./ingest.js";

/** Plans files by their paths, or all there are; returns their ids by path. */
export async function planFiles(
  fixture: Pick<IngestFixture, "tenantId" | "look">,
  shareId: bigint,
  paths?: string[],
  targetUri = "file:///cold",
): Promise<Map<string, bigint>> {
  const rows = await fixture.look<{ tier_id: string; path: string }>(
    `WITH planned AS (
       INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, wanted_action, planned_by, planned_size_bytes, planned_mtime_unix, planned_frn)
       SELECT c.tenant_id, c.share_id, c.file_current_id, $4, 'PLANNED', 'STUB', 'test', c.size_bytes, c.mtime_unix, c.frn
       FROM file_current c JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id
       WHERE c.tenant_id = $1 AND c.share_id = $2 AND c.missing_since_scan_id IS NULL
         AND ($3::text[] IS NULL OR rtrim(d.dir_path, '/') || '/' || c.name = ANY($3))
       ORDER BY c.file_current_id RETURNING tier_id, file_current_id
     )
     SELECT p.tier_id, rtrim(d.dir_path, '/') || '/' || c.name AS path FROM planned p
     JOIN file_current c ON c.file_current_id = p.file_current_id JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id WHERE c.tenant_id = $1`,
    [fixture.tenantId, shareId, paths ?? null, targetUri],
  );
  return new Map(rows.map((row) => [row.path, BigInt(row.tier_id)]));
}

export function claim(fixture: IngestFixture, action: WantedAction, leaseSeconds = 600) {
  return claimTierObjects(fixture.context.pool, fixture.tenantId, { action, limit: 1000, leaseSeconds, holder: "test mover" }, asPlanned);
}

/** Reports on one object, and expects it to be accepted. */
export async function report(
  fixture: IngestFixture,
  item: { tier_id: bigint; lease_token: string },
  outcome: Outcome,
): Promise<ReportResult> {
  const reports = [{ tierId: item.tier_id, leaseToken: item.lease_token, outcome }];
  const [result] = await reportTierObjects(fixture.context.pool, fixture.tenantId, reports);
  if (!result?.verdict.accepted) throw new Error(`refused: ${JSON.stringify(result?.verdict)}`);
  return result;
}

export function stampOf(file: FakeFile): FileStamp {
  return { sizeBytes: file.sizeBytes, mtimeUnix: file.mtimeUnix, frn: file.frn ?? null };
}

/** State and reason of an object, as stored. */
export async function stateOf(fixture: IngestFixture, tierId: bigint) {
  const [row] = await fixture.look<{ state: string; wanted_action: string | null; state_reason: string | null; file_current_id: string }>(
    "SELECT state, wanted_action, state_reason, file_current_id FROM tier_object WHERE tenant_id = $1 AND tier_id = $2",
    [fixture.tenantId, tierId],
  );
  if (!row) throw new Error(`no object ${tierId}`);
  return row;
}
