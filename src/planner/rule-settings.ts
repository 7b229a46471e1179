/**
 * What a rule says beside its condition, as `tier_rule.settings` keeps it: every field is there, with its default where the
 * operator gave none, so that SQL and programs read it alike.
 */

export const ruleOrders = ["coldest", "largest", "oldest"] as const;
/** coldest: last used longest ago; largest: size; oldest: modified longest ago. */
export type RuleOrder = (typeof ruleOrders)[number];

export const warmingActions = ["alert", "rehydrate"] as const;
export type WarmingAction = (typeof warmingActions)[number];

export interface WarmingPolicy {
  action: WarmingAction;
  /** As many accesses within the window, and the action is taken. From 1. */
  accesses: number;
  window_seconds: number;
}

/** The form of the jsonb. Whole numbers up to 2^53-1. */
export interface RuleSettings {
  /** Names; empty: all shares. */
  share_names: string[];
  order: RuleOrder;
  /** Of a plan, in the rule's order; null: no cap. */
  max_files: number | null;
  /** Logical size. */
  max_bytes: number | null;
  /** A share whose last complete scan ended longer ago is not planned. */
  max_scan_age_seconds: number;
  /** The largest part of a share's files, or bytes, that a plan may take unconfirmed; the least of the share's rules holds. 1 to 100. */
  brake_percent: number;
  warming: WarmingPolicy;
  /** How long a rehydrated file is left alone, the first time. */
  residency_seconds: number;
  /** Each further time so many times longer. From 1. */
  backoff_factor: number;
  /** But never longer than this. */
  max_residency_seconds: number;
}

const daySeconds = 86_400;

export const defaultRuleSettings: RuleSettings = {
  share_names: [],
  order: "coldest",
  max_files: null,
  max_bytes: null,
  max_scan_age_seconds: 7 * daySeconds,
  brake_percent: 50,
  warming: { action: "alert", accesses: 1, window_seconds: daySeconds },
  residency_seconds: 7 * daySeconds,
  backoff_factor: 2,
  max_residency_seconds: 90 * daySeconds,
};
