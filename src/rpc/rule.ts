/** frostline.v1.RuleService */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type HoldSchema,
  type ListRulesRequest,
  RuleChangeKind,
  type RuleChangeSchema,
  type RuleSchema,
  type RuleService,
} from "../gen/frostline/v1/rule_pb.js";
import { applyRuleSet, deleteRule, previewRuleSet } from "../planner/apply-rules.js";
import { addHold, type Hold, listHolds, removeHold } from "../planner/holds.js";
import { getRule, listRulesInForce, listVersions } from "../planner/read-rules.js";
import type { RuleVersion } from "../planner/rule.js";
import { nameOf, type RuleChange } from "../planner/rule-set.js";
import { assertName, invalidField } from "../tenancy/validate.js";
import { caller, type ServerDeps } from "./context.js";
import { timestampField } from "./convert.js";
import { decodePageToken, encodePageToken, pageSize, pageTokenNumber } from "./pages.js";
import { fromRuleSet, toSpec } from "./rule-spec.js";

/** A rule has up to some 14 KB, a message 4 MiB. */
const rulesOfPageAtMost = 200;
const kinds: Record<RuleChange["kind"], RuleChangeKind> = {
  added: RuleChangeKind.ADDED,
  changed: RuleChangeKind.CHANGED,
  retired: RuleChangeKind.RETIRED,
  unchanged: RuleChangeKind.UNCHANGED,
};

export function ruleService({ pool }: ServerDeps): ServiceImpl<typeof RuleService> {
  return {
    async applyRules(request, context) {
      const { tenantId, callerId } = caller(context);
      const ruleSet = fromRuleSet(request.ruleSet);
      if (ruleSet === undefined) throw invalidField("rule_set", "is missing.");
      const { changes, etag } = request.validateOnly
        ? await previewRuleSet(pool, tenantId, ruleSet)
        : await applyRuleSet(pool, tenantId, callerId, ruleSet, request.expectedEtag || undefined);
      return { changes: changes.map(toChange), etag };
    },
    async getRule({ name, version }, context) {
      assertName("name", name);
      return { rule: toRule(await getRule(pool, caller(context).tenantId, name, version)) };
    },
    async listRules(request, context) {
      return listRules(request, caller(context).tenantId);
    },
    async deleteRule({ name, expectedEtag }, context) {
      assertName("name", name);
      const { tenantId, callerId } = caller(context);
      return { etag: await deleteRule(pool, tenantId, callerId, name, expectedEtag || undefined) };
    },
    async addHold(request, context) {
      const { tenantId, callerId } = caller(context);
      return { hold: toHold(await addHold(pool, tenantId, callerId, request)) };
    },
    async listHolds({ shareName }, context) {
      return { holds: (await listHolds(pool, caller(context).tenantId, shareName || undefined)).map(toHold) };
    },
    async removeHold({ holdId }, context) {
      return { hold: toHold(await removeHold(pool, caller(context).tenantId, holdId)) };
    },
  };

  async function listRules(request: ListRulesRequest, tenantId: string) {
    const size = pageSize(request.pageSize, 100, rulesOfPageAtMost);
    const before = decodePageToken(request.pageToken, 1)?.[0];
    if (!request.includeRetired) {
      const { rules, etag } = await listRulesInForce(pool, tenantId);
      return { rules: rules.filter(({ name }) => request.name === "" || name === request.name).map(toRule), nextPageToken: "", etag };
    }
    const beforeId = before === undefined ? undefined : pageTokenNumber(before);
    const { rules, etag } = await listVersions(pool, tenantId, request.name, beforeId, size);
    const last = rules.at(-1);
    return { rules: rules.map(toRule), nextPageToken: last && rules.length === size ? encodePageToken([last.ruleId]) : "", etag };
  }
}

function toChange(change: RuleChange): MessageInitShape<typeof RuleChangeSchema> {
  return {
    kind: kinds[change.kind],
    name: nameOf(change),
    ...("before" in change ? { before: toSpec(change.before) } : {}),
    ...("after" in change ? { after: toSpec(change.after) } : change.kind === "unchanged" ? { after: toSpec(change.before) } : {}),
    changedFields: change.kind === "changed" ? change.fields : [],
  };
}

function toRule(rule: RuleVersion): MessageInitShape<typeof RuleSchema> {
  return {
    ruleId: rule.ruleId,
    version: rule.version,
    spec: toSpec(rule),
    createTime: timestampFromDate(rule.createdUtc),
    createdBy: rule.createdBy,
    ...timestampField("retireTime", rule.retiredUtc),
    retiredBy: rule.retiredBy ?? "",
  };
}

function toHold(hold: Hold): MessageInitShape<typeof HoldSchema> {
  return {
    holdId: hold.hold_id,
    shareName: hold.share_name,
    pathGlob: hold.path_glob,
    reason: hold.reason,
    createdBy: hold.created_by,
    createTime: timestampFromDate(hold.created_utc),
  };
}
