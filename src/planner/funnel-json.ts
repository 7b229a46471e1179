/** A funnel as `tier_plan.funnel` keeps it: counts as decimal text, because JSON's numbers lose what exceeds 2^53. */
import type { ExclusionReason } from "./classify.js";
import type { Breakdown, Funnel, Totals } from "./funnel.js";

export interface StoredTotals {
  files: string;
  bytes: string;
  allocated_bytes: string;
}

export interface StoredBreakdown {
  matched: StoredTotals;
  excluded: Partial<Record<ExclusionReason, StoredTotals>>;
  capped: StoredTotals;
  planned: StoredTotals;
  /** By class, as of classes.ts. */
  planned_by_age: Record<string, StoredTotals>;
  planned_by_size: Record<string, StoredTotals>;
}

export interface StoredRuleFunnel extends StoredBreakdown {
  rule_id: string;
  rule_name: string;
  version: number;
  taken: StoredTotals;
}

export interface StoredFunnel extends StoredBreakdown {
  rules: StoredRuleFunnel[];
}

/** Without samples: files move and go. A rule that is not in force has id and version 0. */
export function storedFunnel(funnel: Funnel): StoredFunnel {
  const rules = funnel.rules.map(({ rule, taken, ...breakdown }) => ({
    rule_id: String(rule.ruleId ?? 0n),
    rule_name: rule.name,
    version: rule.version ?? 0,
    taken: totals(taken),
    ...stored(breakdown),
  }));
  return { ...stored(funnel), rules };
}

function stored({ matched, excluded, capped, planned, plannedByAge, plannedBySize }: Breakdown): StoredBreakdown {
  return {
    matched: totals(matched),
    excluded: byKey(excluded),
    capped: totals(capped),
    planned: totals(planned),
    planned_by_age: byKey(plannedByAge),
    planned_by_size: byKey(plannedBySize),
  };
}

function byKey(map: Map<string | number, Totals>): Record<string, StoredTotals> {
  return Object.fromEntries([...map].map(([key, value]) => [key, totals(value)]));
}

function totals({ files, bytes, allocatedBytes }: Totals): StoredTotals {
  return { files: String(files), bytes: String(bytes), allocated_bytes: String(allocatedBytes) };
}
