/** Plans a share: set-wise, all or nothing, once for each request. */
import type { ClientBase, Pool, PoolClient } from "pg";
import pg from "pg";
import { inTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { actorOf } from "../tenancy/actor.js";
import { plannable, plannedAnew } from "../tier/transitions.js";
import { inSpan } from "../tracing.js";
import { bitOf, chosenSql, matchedSql, ruleBitSql } from "./classify.js";
import { countFunnel } from "./count.js";
import { storedFunnel } from "./funnel-json.js";
import { findPlan, insertPlan, type Plan } from "./plans.js";
import { loadSituation, refusalsOf, refusedError, type Situation } from "./situation.js";
import { plannerSettings, StatementParams } from "./statement.js";

export interface PlanRequest {
  shareName: string;
  /** A UUID, lower case. */
  requestId: string;
  confirmBrake: boolean;
  nowUnix: bigint;
}

/** What was committed after this one looked shows itself once the transaction is begun again. */
const attemptsAtMost = 3;

/**
 * Returns the plan, and whether an earlier call with the same request id made it.
 * Throws NOT_FOUND (share), FAILED_PRECONDITION (see Refusal), ALREADY_EXISTS (the request id was used for another share),
 * ABORTED (another plan of the share is under way, or others came first each time), UNAVAILABLE (movers changed objects that it was about to plan again).
 */
export async function planShare(
  pool: Pool,
  tenantId: string,
  callerId: string,
  request: PlanRequest,
): Promise<{ plan: Plan; repeated: boolean }> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await inTenant(pool, tenantId, (client) => planOnce(client, tenantId, callerId, request));
    } catch (error) {
      if (!isLostRace(error)) throw error;
      if (attempt === attemptsAtMost) throw planRunning(request.shareName);
    }
  }
}

/** Another plan took the number, or a scan's end gave a file that it was about to plan to the one that had moved there. */
function isLostRace(error: unknown): boolean {
  if (!(error instanceof pg.DatabaseError)) return false;
  return (
    (error.code === "23505" && error.table === "tier_plan") || (error.code === "23503" && error.table?.startsWith("tier_object") === true)
  );
}

async function planOnce(
  client: PoolClient,
  tenantId: string,
  callerId: string,
  request: PlanRequest,
): Promise<{ plan: Plan; repeated: boolean }> {
  await client.query(plannerSettings);
  const made = await findPlan(client, tenantId, request.requestId);
  if (made !== undefined) {
    if (made.shareName !== request.shareName) throw requestIdUsed(request.requestId, made.shareName);
    return { plan: made, repeated: true };
  }
  const situation = await loadSituation(client, tenantId, request.shareName, request.nowUnix);
  await lockPlan(client, situation);
  const funnel = await countFunnel(client, situation);
  const refusal = refusalsOf(situation, funnel.planned).find(({ reason }) => reason !== "PLAN_BRAKE" || !request.confirmBrake);
  if (refusal !== undefined) throw refusedError(refusal);
  const plannedBy = await actorOf(client, tenantId, callerId);
  const plan = await insertPlan(client, tenantId, situation.share, { ...request, plannedBy, funnel: storedFunnel(funnel) });
  const written = await inSpan("frostline.planner.write", {}, () => writeObjects(client, situation, plan));
  // One moment and one piece of SQL: anything else is an error of this program, and nothing of it may stay.
  if (written !== funnel.planned.files) throw new Error(`plan ${plan.planId}: ${funnel.planned.files} files counted, ${written} written`);
  return { plan, repeated: false };
}

/** Only to say early what the plan's number would say in the end. */
async function lockPlan(client: ClientBase, { share }: Situation): Promise<void> {
  const { rows } = await client.query<{ locked: boolean }>("SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0)) AS locked", [
    `plan of share ${share.share_id}`,
  ]);
  if (rows[0]?.locked !== true) throw planRunning(share.share_name);
}

function planRunning(shareName: string): DomainError {
  return new DomainError("ABORTED", `The share ${JSON.stringify(shareName)} is being planned. Try again when that has ended.`, {
    reason: "PLAN_RUNNING",
    retryDelayMs: 5000,
  });
}

function requestIdUsed(requestId: string, shareName: string): DomainError {
  return new DomainError(
    "ALREADY_EXISTS",
    `The request id ${requestId} made a plan of the share ${JSON.stringify(shareName)}. Use a new one.`,
    {
      reason: "REQUEST_ID_USED",
    },
  );
}

/** The tier objects of the files that the plan takes, and a row of audit_log for each. Returns how many. */
async function writeObjects(client: ClientBase, situation: Situation, plan: Plan): Promise<bigint> {
  const { tenantId, share, rules } = situation;
  const params = new StatementParams();
  const tenant = `${params.add(tenantId)}::uuid`;
  const shareId = `${params.add(share.share_id)}::bigint`;
  const planId = `${params.add(plan.planId)}::bigint`;
  const plannedBy = `${params.add(plan.plannedBy)}::text`;
  const ruleColumns = [
    `${params.add(rules.map((_, place) => bitOf(place)))}::bigint[]`,
    `${params.add(rules.map((rule) => rule.ruleId))}::bigint[]`,
    `${params.add(rules.map((rule) => rule.version))}::integer[]`,
    `${params.add(rules.map((rule) => rule.targetUri))}::text[]`,
  ];
  const matched = matchedSql(situation, params);
  const { rows } = await client.query<{ written: bigint }>(
    `WITH matched AS (${matched}), chosen AS MATERIALIZED (
       SELECT m.*, r.rule_id, r.version, r.target_uri
       FROM (${chosenSql(rules, params)}) m JOIN unnest(${ruleColumns.join(", ")}) AS r (bit, rule_id, version, target_uri) ON r.bit = ${ruleBitSql}
     ), made AS (
       INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, wanted_action, rule_id, rule_version, plan_id, planned_by,
         planned_size_bytes, planned_mtime_unix, planned_frn)
       SELECT ${tenant}, ${shareId}, file_current_id, target_uri, 'PLANNED', 'STUB', rule_id, version, ${planId}, ${plannedBy}, size_bytes, mtime_unix, frn
       FROM chosen WHERE tier_id IS NULL
       RETURNING file_current_id
     ), renewed AS (
       UPDATE tier_object t SET ${plannedAnew}, target_uri = m.target_uri, rule_id = m.rule_id, rule_version = m.version, plan_id = ${planId},
         planned_by = ${plannedBy}, planned_utc = now(), planned_size_bytes = m.size_bytes, planned_mtime_unix = m.mtime_unix, planned_frn = m.frn
       FROM chosen m WHERE t.tenant_id = ${tenant} AND t.tenant_id = m.tenant_id AND t.tier_id = m.tier_id AND ${plannable("t")}
       RETURNING t.file_current_id, m.old_state
     ), logged AS (
       INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, old_state, new_state, source, actor)
       SELECT ${tenant}, 'tier', ${shareId}, file_current_id, old_state, 'PLANNED', 'plan', ${plannedBy}
       FROM (SELECT file_current_id, NULL AS old_state FROM made UNION ALL SELECT file_current_id, old_state FROM renewed) planned
     )
     SELECT (SELECT count(*) FROM made) + (SELECT count(*) FROM renewed) AS written`,
    params.values,
  );
  return (rows[0] as { written: bigint }).written;
}
