/** Funnels, counted now or kept with a plan, as messages. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  ExclusionReason,
  type FunnelSchema,
  type RefusalSchema,
  type RuleFunnelSchema,
  type SampleFileSchema,
  type TotalsSchema,
} from "../gen/frostline/v1/planner_pb.js";
import { ageBounds, classOf, sizeBounds } from "../planner/classes.js";
import type * as classify from "../planner/classify.js";
import { exclusionReasons } from "../planner/classify.js";
import type { Totals } from "../planner/funnel.js";
import type { StoredBreakdown, StoredFunnel, StoredTotals } from "../planner/funnel-json.js";
import type { SampleFile } from "../planner/sample.js";
import type { Refusal } from "../planner/situation.js";

export const exclusionReason: Record<classify.ExclusionReason, ExclusionReason> = {
  missing: ExclusionReason.MISSING,
  metadata_incomplete: ExclusionReason.METADATA_INCOMPLETE,
  metadata_stale: ExclusionReason.METADATA_STALE,
  hard_links: ExclusionReason.HARD_LINKS,
  tiered: ExclusionReason.TIERED,
  resident: ExclusionReason.RESIDENT,
  target_pending: ExclusionReason.TARGET_PENDING,
  held: ExclusionReason.HELD,
};
const int64Max = 2n ** 63n - 1n;

/** `samples` are those of the rules, in their order. */
export function toFunnel(funnel: StoredFunnel, samples: SampleFile[][] = []): MessageInitShape<typeof FunnelSchema> {
  const rules = funnel.rules.map(
    (rule, place): MessageInitShape<typeof RuleFunnelSchema> => ({
      ruleName: rule.rule_name,
      ruleId: BigInt(rule.rule_id),
      version: rule.version,
      taken: totals(rule.taken),
      ...breakdown(rule),
      sample: (samples[place] ?? []).map(toSample),
    }),
  );
  return { ...breakdown(funnel), rules };
}

function breakdown(stored: StoredBreakdown) {
  return {
    matched: totals(stored.matched),
    excluded: exclusionReasons.flatMap((reason) => {
      const excluded = stored.excluded[reason];
      return excluded === undefined ? [] : [{ reason: exclusionReason[reason], totals: totals(excluded) }];
    }),
    capped: totals(stored.capped),
    planned: totals(stored.planned),
    plannedByAge: classes(ageBounds, stored.planned_by_age),
    plannedBySize: classes(sizeBounds, stored.planned_by_size),
  };
}

function classes(bounds: readonly bigint[], byClass: Record<string, StoredTotals>) {
  return Object.entries(byClass)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([at, stored]) => {
      const { from, below } = classOf(bounds, Number(at));
      return { from, ...(below === undefined ? {} : { below }), totals: totals(stored) };
    });
}

function totals({ files, bytes, allocated_bytes }: StoredTotals) {
  return toTotals({ files: BigInt(files), bytes: BigInt(bytes), allocatedBytes: BigInt(allocated_bytes) });
}

export function toTotals({ files, bytes, allocatedBytes }: Totals): MessageInitShape<typeof TotalsSchema> {
  return { files, bytes: capped(bytes), allocatedBytes: capped(allocatedBytes) };
}

/** A sum of sizes may be more than fits: it says so by being the largest number there is. */
function capped(value: bigint): bigint {
  return value > int64Max ? int64Max : value;
}

export function toSample({ fileId, path, sizeBytes, lastUsedUnix }: SampleFile): MessageInitShape<typeof SampleFileSchema> {
  return { fileId, path, sizeBytes, lastUsedUnix };
}

export function toRefusal({ reason, message }: Refusal): MessageInitShape<typeof RefusalSchema> {
  return { reason, message };
}
