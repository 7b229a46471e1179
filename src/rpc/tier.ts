/** frostline.v1.TierService */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type FileStamp as FileStampMessage,
  FileStampSchema,
  TierAction,
  type TierClaimSchema,
  type TierObjectSchema,
  TierReportCode,
  type TierReportResultSchema,
  type TierService,
  TierState,
} from "../gen/frostline/v1/tier_pb.js";
import { joinPath, renderPath } from "../paths.js";
import { isTokenCaller } from "../tenancy/actor.js";
import { assertName, invalidField } from "../tenancy/validate.js";
import { type Claim, claimTierObjects } from "../tier/claim.js";
import { listTierObjects } from "../tier/list-objects.js";
import { type ReportResult, reportTierObjects } from "../tier/report.js";
import * as requests from "../tier/requests.js";
import type { StillMatches } from "../tier/still-matches.js";
import type { TierObjectRow } from "../tier/tier-object.js";
import type * as transitions from "../tier/transitions.js";
import { caller, type ServerDeps } from "./context.js";
import { timestampField } from "./convert.js";
import { countThatFit, decodePageToken, encodePageToken, pageSize, pageTokenNumber } from "./pages.js";
import { fromReport } from "./tier-report.js";

const itemsAtMost = 1000;
const leaseSecondsAtMost = 86_400;
const reasonCharsAtMost = 1000;

const states: Record<transitions.TierState, TierState> = {
  PLANNED: TierState.PLANNED,
  STUBBED: TierState.STUBBED,
  REHYDRATED: TierState.REHYDRATED,
  DELETED: TierState.DELETED,
};
const actions: Record<transitions.WantedAction, TierAction> = {
  STUB: TierAction.STUB,
  REHYDRATE: TierAction.REHYDRATE,
  DELETE_TARGET: TierAction.DELETE_TARGET,
};

export function tierService({ pool, metrics }: ServerDeps, stillMatches: StillMatches): ServiceImpl<typeof TierService> {
  return {
    async listTierObjects(request, context) {
      const limit = pageSize(request.pageSize, itemsAtMost, 10_000);
      const [after = "0"] = decodePageToken(request.pageToken, 1) ?? [];
      const filter = {
        shareName: request.shareName || undefined,
        state: nameOf(states, request.state, "state"),
        wantedAction: nameOf(actions, request.wantedAction, "wanted_action"),
        ruleName: request.ruleName || undefined,
      };
      const rows = await listTierObjects(pool, caller(context).tenantId, filter, pageTokenNumber(after), limit);
      const page = rows.slice(0, countThatFit(rows, limit));
      const last = page.at(-1);
      const isLast = page.length === rows.length && rows.length < limit;
      return { objects: page.map(toObject), nextPageToken: isLast || !last ? "" : encodePageToken([last.tier_id]) };
    },
    async claimTierObjects(request, context) {
      const action = nameOf(actions, request.action, "action");
      if (action === undefined) throw invalidField("action", "must be STUB, REHYDRATE or DELETE_TARGET.");
      assertBetween("limit", request.limit, itemsAtMost);
      assertBetween("lease_seconds", request.leaseSeconds, leaseSecondsAtMost);
      assertName("holder", request.holder);
      const { limit, leaseSeconds, holder } = request;
      const claim = { action, limit, leaseSeconds, holder, shareName: request.shareName || undefined };
      const claims = await claimTierObjects(pool, caller(context).tenantId, claim, stillMatches);
      metrics.tier.claimed(action, claims.length);
      return { claims: claims.map((row) => toClaim(action, row)) };
    },
    async reportTierObjects({ reports }, context) {
      assertCount("reports", reports.length);
      if (new Set(reports.map(({ tierId }) => tierId)).size < reports.length) throw invalidField("reports", "names an object twice.");
      const read = reports.map(fromReport);
      const good = read.flatMap((item) => ("problem" in item ? [] : [item.report]));
      const results = new Map(
        (await reportTierObjects(pool, caller(context).tenantId, good)).map((result) => [result.tierId, toResult(result)]),
      );
      for (const item of read) {
        if ("problem" in item)
          results.set(item.tierId, { tierId: item.tierId, code: TierReportCode.INVALID_ARGUMENT, message: item.problem });
      }
      for (const { code = TierReportCode.UNSPECIFIED } of results.values()) metrics.tier.reported(TierReportCode[code]);
      return { results: reports.map(({ tierId }) => results.get(tierId) as MessageInitShape<typeof TierReportResultSchema>) };
    },
    async requestRehydration({ tierIds, shareName, paths, reason }, context) {
      const { tenantId, callerId } = caller(context);
      assertReason(reason);
      if (tierIds.length > 0 === paths.length > 0) throw invalidField("tier_ids, paths", "must not both be empty, nor both be set.");
      assertCount("tier_ids, paths", tierIds.length + paths.length);
      const wanted = tierIds.length > 0 ? { tierIds } : { shareName, paths };
      return { objects: (await requests.rehydrate(pool, tenantId, wanted, reason, actorOf(callerId))).map(toObject) };
    },
    async cancelTierObjects({ tierIds, reason }, context) {
      const { tenantId, callerId } = caller(context);
      assertReason(reason);
      assertCount("tier_ids", tierIds.length);
      return { objects: (await requests.cancel(pool, tenantId, tierIds, reason, actorOf(callerId))).map(toObject) };
    },
    async requestTargetDeletion({ tierIds, reason }, context) {
      const { tenantId, callerId } = caller(context);
      assertReason(reason);
      assertCount("tier_ids", tierIds.length);
      return { objects: (await requests.deleteTargets(pool, tenantId, tierIds, reason, actorOf(callerId))).map(toObject) };
    },
  };
}

function assertBetween(field: string, value: number, most: number): void {
  if (value < 1 || value > most) throw invalidField(field, `is ${value}; it must be 1 to ${most}.`);
}

function assertCount(field: string, count: number): void {
  if (count < 1 || count > itemsAtMost) throw invalidField(field, `has ${count} items; it must have 1 to ${itemsAtMost}.`);
}

function assertReason(reason: string): void {
  if (reason.length > reasonCharsAtMost || reason.includes("\0"))
    throw invalidField("reason", `must have at most ${reasonCharsAtMost} characters, and no NUL.`);
}

function actorOf(callerId: string): string {
  return isTokenCaller(callerId) ? callerId : `key ${callerId}`;
}

/** Undefined for the unspecified value. */
function nameOf<Name extends string, Value extends number>(names: Record<Name, Value>, value: Value, field: string): Name | undefined {
  if (value === 0) return undefined;
  const found = (Object.entries(names) as [Name, Value][]).find(([, known]) => known === value);
  if (!found) throw invalidField(field, `is ${value}, which this server does not know.`);
  return found[0];
}

function toObject(row: TierObjectRow): MessageInitShape<typeof TierObjectSchema> {
  const stub = toStamp(row.stub_size_bytes, row.stub_mtime_unix, row.stub_frn);
  const planned = toStamp(row.planned_size_bytes, row.planned_mtime_unix, row.planned_frn);
  return {
    tierId: row.tier_id,
    shareName: row.share_name,
    path: renderPath(row.src_type, row.dir_path, row.name),
    fileId: row.file_current_id,
    state: states[row.state],
    wantedAction: row.wanted_action === null ? TierAction.UNSPECIFIED : actions[row.wanted_action],
    targetUri: row.target_uri,
    objectUri: row.object_uri ?? "",
    stateReason: row.state_reason ?? "",
    ruleId: row.rule_id ?? 0n,
    ruleName: row.rule_name ?? "",
    ruleVersion: row.rule_version ?? 0,
    plannedBy: row.planned_by,
    planTime: timestampFromDate(row.planned_utc),
    ...timestampField("actTime", row.acted_utc),
    ...(planned && { planned }),
    ...(stub && { stub }),
    ...timestampField("lastAccessTime", row.last_accessed_utc),
    accessCount: row.access_count,
    leaseHolder: row.lease_holder ?? "",
    ...timestampField("leaseEndTime", row.lease_until_utc),
    attempts: row.attempts,
    ...timestampField("retryAfterTime", row.retry_after_utc),
    missing: row.missing,
    ...timestampField("residentUntilTime", row.resident_until_utc),
    rehydrationCount: row.rehydration_count,
  };
}

function toClaim(action: transitions.WantedAction, row: Claim): MessageInitShape<typeof TierClaimSchema> {
  const stub = toStamp(row.stub_size_bytes, row.stub_mtime_unix, row.stub_frn);
  const planned = toStamp(row.planned_size_bytes, row.planned_mtime_unix, row.planned_frn);
  return {
    tierId: row.tier_id,
    leaseToken: row.lease_token,
    leaseEndTime: timestampFromDate(row.lease_until_utc),
    shareName: row.share_name,
    path: renderPath(row.src_type, row.dir_path, row.name),
    pathNames: joinPath(row.dir_path, row.name).slice(1).split("/"),
    action: actions[action],
    ...(planned && { planned }),
    targetUri: row.target_uri,
    objectUri: row.object_uri ?? "",
    ...(stub && { stub }),
    attempts: row.attempts,
    settleOnly: row.settle_only,
  };
}

const refusals = {
  NOT_FOUND: TierReportCode.NOT_FOUND,
  LEASE_LOST: TierReportCode.LEASE_LOST,
  FAILED_PRECONDITION: TierReportCode.FAILED_PRECONDITION,
};

function toResult({ tierId, verdict, leaseUntilUtc }: ReportResult): MessageInitShape<typeof TierReportResultSchema> {
  const state = verdict.state === undefined ? TierState.UNSPECIFIED : states[verdict.state];
  if (!verdict.accepted) return { tierId, code: refusals[verdict.code], message: verdict.message, state };
  return { tierId, code: TierReportCode.ACCEPTED, state, ...timestampField("leaseEndTime", leaseUntilUtc ?? null) };
}

/** Absent without a size and a time. */
function toStamp(sizeBytes: bigint | null, mtimeUnix: bigint | null, frn: bigint | null): FileStampMessage | undefined {
  if (sizeBytes === null || mtimeUnix === null) return undefined;
  return create(FileStampSchema, { sizeBytes, mtimeUnix, ...(frn !== null && { frn: BigInt.asUintN(64, frn) }) });
}
