/**
 * Writes accepted reports: a handful of set-wise statements, whatever their number. Each names its ids twice, `= ANY` too: by
 * the join alone, as long as there are no statistics, all objects of the tenant are compared with all of the batch.
 */
import type { ClientBase } from "pg";
import { plainArray, textArray } from "../db/array-literals.js";
import { changeStates } from "./change-state.js";
import type { FileStamp, Outcome } from "./judge.js";
import type { Accepted } from "./report.js";
import type { Cause, TierState } from "./transitions.js";

/** The first wait after a failure, doubled with each further one, and the longest. */
const retrySeconds = 30;
const retrySecondsAtMost = 6 * 3600;

type Of<Kind extends Outcome["kind"]> = Accepted & { outcome: Extract<Outcome, { kind: Kind }> };

function only<Kind extends Outcome["kind"]>(accepted: readonly Accepted[], kind: Kind): Of<Kind>[] {
  return accepted.filter((report): report is Of<Kind> => report.outcome.kind === kind);
}

/** The rows are locked. Returns until when leases were renewed, by object. */
export async function applyReports(client: ClientBase, tenantId: string, accepted: readonly Accepted[]): Promise<Map<bigint, Date>> {
  const ended = accepted.filter(({ outcome }) => outcome.kind !== "progress");
  const stubbed = only(accepted, "stubbed");
  const skipped = only(accepted, "skipped");
  await storeStubs(client, tenantId, stubbed);
  await change(client, tenantId, "STUBBED", "stubbed", stubbed, () => "");
  await storeRestored(client, tenantId, only(accepted, "rehydrated"));
  await change(client, tenantId, "REHYDRATED", "rehydrated", only(accepted, "rehydrated"), () => "");
  await change(client, tenantId, "DELETED", "file_gone", only(accepted, "file_gone"), () => "A mover reported that the file is gone.");
  const unplanned = skipped.filter(({ state }) => state === "DELETED");
  await change(client, tenantId, "DELETED", "no_longer_matching", unplanned, ({ outcome }) => outcome.reason);
  await dropRequests(
    client,
    tenantId,
    skipped.filter(({ state }) => state !== "DELETED"),
  );
  await forgetCopies(client, tenantId, only(accepted, "target_deleted"));
  await storeFailures(client, tenantId, only(accepted, "failed"));
  await rememberReports(client, tenantId, ended);
  return renewLeases(client, tenantId, only(accepted, "progress"));
}

async function change<Kind extends Outcome["kind"]>(
  client: ClientBase,
  tenantId: string,
  to: TierState,
  cause: Cause,
  reports: Of<Kind>[],
  reasonOf: (report: Of<Kind>) => string,
): Promise<void> {
  const objects = reports.map((report) => ({
    tierId: report.tierId,
    reason: reasonOf(report),
    actor: report.object.leaseHolder ?? "",
  }));
  const changed = await changeStates(client, tenantId, { to, cause, leased: true }, objects);
  if (changed.length !== reports.length) throw new Error(`${reports.length} tier objects were to become ${to}, ${changed.length} did`);
}

async function storeStubs(client: ClientBase, tenantId: string, reports: Of<"stubbed">[]): Promise<void> {
  if (reports.length === 0) return;
  await client.query(
    `UPDATE tier_object t SET stub_size_bytes = n.size_bytes, stub_mtime_unix = n.mtime_unix, stub_frn = n.frn, object_uri = n.object_uri
     FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[]) AS n (tier_id, size_bytes, mtime_unix, frn, object_uri)
     WHERE t.tenant_id = $1 AND t.tier_id = ANY($2::bigint[]) AND t.tier_id = n.tier_id`,
    [tenantId, idsOf(reports), ...stampColumns(reports.map(({ outcome }) => outcome.stub)), textArray(reports.map(uriOf))],
  );
}

/** A file that came back has another number, by which it is known when it is edited or renamed before the next scan. */
async function storeRestored(client: ClientBase, tenantId: string, reports: Of<"rehydrated">[]): Promise<void> {
  if (reports.length === 0) return;
  await client.query(
    `UPDATE tier_object t SET stub_frn = n.frn FROM unnest($2::bigint[], $3::bigint[]) AS n (tier_id, frn)
     WHERE t.tenant_id = $1 AND t.tier_id = ANY($2::bigint[]) AND t.tier_id = n.tier_id`,
    [tenantId, idsOf(reports), plainArray(reports.map(({ outcome }) => outcome.file.frn))],
  );
}

async function renewLeases(client: ClientBase, tenantId: string, reports: Of<"progress">[]): Promise<Map<bigint, Date>> {
  if (reports.length === 0) return new Map();
  const { rows } = await client.query<{ tier_id: bigint; lease_until_utc: Date }>(
    `UPDATE tier_object t SET lease_until_utc = now() + make_interval(secs => n.lease_seconds),
       stub_size_bytes = coalesce(n.size_bytes, t.stub_size_bytes), stub_mtime_unix = coalesce(n.mtime_unix, t.stub_mtime_unix),
       stub_frn = CASE WHEN n.size_bytes IS NULL THEN t.stub_frn ELSE n.frn END, object_uri = coalesce(nullif(n.object_uri, ''), t.object_uri)
     FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::integer[])
       AS n (tier_id, size_bytes, mtime_unix, frn, object_uri, lease_seconds)
     WHERE t.tenant_id = $1 AND t.tier_id = ANY($2::bigint[]) AND t.tier_id = n.tier_id
     RETURNING t.tier_id, t.lease_until_utc`,
    [
      tenantId,
      idsOf(reports),
      ...stampColumns(reports.map(({ outcome }) => outcome.stub)),
      textArray(reports.map(uriOf)),
      plainArray(reports.map(({ outcome }) => outcome.leaseSeconds)),
    ],
  );
  return new Map(rows.map((row) => [row.tier_id, row.lease_until_utc]));
}

/** The stub that was asked for is not there: nothing is wanted any more, and why is told. */
async function dropRequests(client: ClientBase, tenantId: string, reports: Of<"skipped">[]): Promise<void> {
  if (reports.length === 0) return;
  await client.query(
    `UPDATE tier_object t SET wanted_action = NULL, state_reason = nullif(n.reason, ''), attempts = 0, retry_after_utc = NULL,
       lease_holder = NULL, lease_until_utc = NULL, lease_token = NULL
     FROM unnest($2::bigint[], $3::text[]) AS n (tier_id, reason) WHERE t.tenant_id = $1 AND t.tier_id = ANY($2::bigint[]) AND t.tier_id = n.tier_id`,
    [tenantId, idsOf(reports), textArray(reports.map(({ outcome }) => outcome.reason))],
  );
}

/** No change of state, but data is gone for good: it stands in the log. */
async function forgetCopies(client: ClientBase, tenantId: string, reports: Of<"target_deleted">[]): Promise<void> {
  if (reports.length === 0) return;
  await client.query(
    `WITH forgotten AS (
       UPDATE tier_object t SET wanted_action = NULL, object_uri = NULL, attempts = 0, retry_after_utc = NULL,
         lease_holder = NULL, lease_until_utc = NULL, lease_token = NULL
       FROM unnest($2::bigint[], $3::text[]) AS n (tier_id, actor) WHERE t.tenant_id = $1 AND t.tier_id = ANY($2::bigint[]) AND t.tier_id = n.tier_id
       RETURNING t.share_id, t.file_current_id, t.state, t.state_reason, n.actor
     )
     INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, old_state, new_state, source, actor, reason)
     SELECT $1, 'tier', share_id, file_current_id, state, state, 'target_deleted', nullif(actor, ''), state_reason FROM forgotten`,
    [tenantId, idsOf(reports), textArray(reports.map(({ object }) => object.leaseHolder ?? ""))],
  );
}

async function storeFailures(client: ClientBase, tenantId: string, reports: Of<"failed">[]): Promise<void> {
  if (reports.length === 0) return;
  await client.query(
    `UPDATE tier_object t SET attempts = t.attempts + 1, state_reason = nullif(n.reason, ''),
       retry_after_utc = now() + make_interval(secs => least($5::double precision * power(2, least(t.attempts, 30)), $6)),
       lease_holder = NULL, lease_until_utc = NULL, lease_token = NULL,
       stub_size_bytes = CASE WHEN n.untouched AND t.state = 'PLANNED' THEN NULL ELSE t.stub_size_bytes END,
       stub_mtime_unix = CASE WHEN n.untouched AND t.state = 'PLANNED' THEN NULL ELSE t.stub_mtime_unix END,
       stub_frn = CASE WHEN n.untouched AND t.state = 'PLANNED' THEN NULL ELSE t.stub_frn END
     FROM unnest($2::bigint[], $3::text[], $4::boolean[]) AS n (tier_id, reason, untouched)
     WHERE t.tenant_id = $1 AND t.tier_id = ANY($2::bigint[]) AND t.tier_id = n.tier_id`,
    [
      tenantId,
      idsOf(reports),
      textArray(reports.map(({ outcome }) => outcome.reason)),
      plainArray(reports.map(({ outcome }) => outcome.fileUntouched)),
      retrySeconds,
      retrySecondsAtMost,
    ],
  );
}

/** So that the same report gets the same answer. */
async function rememberReports(client: ClientBase, tenantId: string, reports: readonly Accepted[]): Promise<void> {
  if (reports.length === 0) return;
  await client.query(
    `UPDATE tier_object t SET reported_token = n.token, reported_outcome = n.outcome, reported_state = n.state
     FROM unnest($2::bigint[], $3::uuid[], $4::text[], $5::text[]) AS n (tier_id, token, outcome, state)
     WHERE t.tenant_id = $1 AND t.tier_id = ANY($2::bigint[]) AND t.tier_id = n.tier_id`,
    [
      tenantId,
      idsOf(reports),
      plainArray(reports.map(({ leaseToken }) => leaseToken)),
      textArray(reports.map(({ outcome }) => outcome.kind)),
      textArray(reports.map(({ state }) => state)),
    ],
  );
}

function idsOf(reports: readonly Accepted[]): string {
  return plainArray(reports.map(({ tierId }) => tierId));
}

function uriOf({ outcome }: { outcome: { objectUri: string } }): string {
  return outcome.objectUri;
}

function stampColumns(stamps: (FileStamp | undefined)[]): string[] {
  return [
    plainArray(stamps.map((stamp) => stamp?.sizeBytes)),
    plainArray(stamps.map((stamp) => stamp?.mtimeUnix)),
    plainArray(stamps.map((stamp) => stamp?.frn)),
  ];
}
