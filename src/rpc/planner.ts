/** frostline.v1.PlannerService */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { PlannerService, PlanRecordSchema } from "../gen/frostline/v1/planner_pb.js";
import { compareRules } from "../planner/compare.js";
import { explainFile } from "../planner/explain.js";
import { storedFunnel } from "../planner/funnel-json.js";
import { planShare } from "../planner/plan.js";
import { listPlans, type Plan } from "../planner/plans.js";
import { previewPlan } from "../planner/preview.js";
import { invalidField, parseUuid } from "../tenancy/validate.js";
import { caller, type ServerDeps } from "./context.js";
import { toExplanation } from "./explanation.js";
import { toFunnel, toRefusal, toSample, toTotals } from "./funnel.js";
import { decodePageToken, encodePageToken, pageSize, pageTokenNumber } from "./pages.js";
import { fromRuleSet } from "./rule-spec.js";

/** A plan by 50 rules has up to some 50 KB, a message 4 MiB. */
const plansOfPageAtMost = 50;

export function plannerService({ pool, metrics }: ServerDeps): ServiceImpl<typeof PlannerService> {
  return {
    async preview({ shareName, candidate, sampleSize }, context) {
      const nowUnix = unixNow();
      const request = { shareName, candidate: fromRuleSet(candidate), sampleSize: sizeOfSample(sampleSize), nowUnix };
      const { funnel, samples, refusals } = await previewPlan(pool, caller(context).tenantId, request);
      return { funnel: toFunnel(storedFunnel(funnel), samples), refusals: refusals.map(toRefusal), nowUnix };
    },
    async compareRules({ shareName, candidate, sampleSize }, context) {
      const nowUnix = unixNow();
      const ruleSet = fromRuleSet(candidate);
      if (ruleSet === undefined) throw invalidField("candidate", "is missing.");
      const request = { shareName, candidate: ruleSet, sampleSize: sizeOfSample(sampleSize), nowUnix };
      const { both, newlyPlanned, noLongerPlanned, differences } = await compareRules(pool, caller(context).tenantId, request);
      return {
        both: toTotals(both),
        newlyPlanned: toTotals(newlyPlanned),
        noLongerPlanned: toTotals(noLongerPlanned),
        differences: differences.map(({ before, after, totals, sample }) => ({
          beforeRuleName: before?.name ?? "",
          afterRuleName: after?.name ?? "",
          totals: toTotals(totals),
          sample: sample.map(toSample),
        })),
        nowUnix,
      };
    },
    async explain({ shareName, path, candidate }, context) {
      const nowUnix = unixNow();
      const explanation = await explainFile(pool, caller(context).tenantId, {
        shareName,
        path,
        candidate: fromRuleSet(candidate),
        nowUnix,
      });
      return toExplanation(explanation, nowUnix);
    },
    async plan({ shareName, requestId, confirmBrake }, context) {
      const { tenantId, callerId } = caller(context);
      const request = { shareName, requestId: parseUuid("request_id", requestId), confirmBrake, nowUnix: unixNow() };
      const { plan, repeated } = await planShare(pool, tenantId, callerId, request);
      const { files, bytes } = plan.funnel.planned;
      if (!repeated) metrics.tier.planned(Number(files), Number(bytes));
      return { plan: toRecord(plan), repeatedRequest: repeated };
    },
    async listPlans(request, context) {
      const size = pageSize(request.pageSize, 20, plansOfPageAtMost);
      const [before] = decodePageToken(request.pageToken, 1) ?? [];
      const beforeNo = before === undefined ? undefined : Number(pageTokenNumber(before, 32));
      const plans = await listPlans(pool, caller(context).tenantId, request.shareName, beforeNo, size);
      const last = plans.at(-1);
      return { plans: plans.map(toRecord), nextPageToken: last && plans.length === size ? encodePageToken([last.planNo]) : "" };
    },
  };
}

function unixNow(): bigint {
  return BigInt(Math.floor(Date.now() / 1000));
}

function sizeOfSample(asked: number): number {
  if (asked < 0 || asked > 100) throw invalidField("sample_size", `is ${asked}; it must be 0 to 100.`);
  return asked === 0 ? 10 : asked;
}

function toRecord(plan: Plan): MessageInitShape<typeof PlanRecordSchema> {
  const { planId, shareName, planNo, requestId, scanId, nowUnix, plannedBy, brakeConfirmed } = plan;
  const planTime = timestampFromDate(plan.plannedUtc);
  return { planId, shareName, planNo, requestId, scanId, nowUnix, plannedBy, planTime, brakeConfirmed, funnel: toFunnel(plan.funnel) };
}
