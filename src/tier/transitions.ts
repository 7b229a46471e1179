/**
 * The life of a tier object: the one table. Whatever is not in it does not happen.
 *
 * A file without an object has no state yet (`undefined`). What each cause means is told in docs/tiering.md.
 */

export const tierStates = ["PLANNED", "STUBBED", "REHYDRATED", "DELETED"] as const;
export type TierState = (typeof tierStates)[number];

/** What a mover is to do. */
export const wantedActions = ["STUB", "REHYDRATE", "DELETE_TARGET"] as const;
export type WantedAction = (typeof wantedActions)[number];

/** What brings a change about; `audit_log.source` says it. */
export type Cause = "plan" | "stubbed" | "rehydrated" | "stub_overwritten" | "cancelled" | "no_longer_matching" | "file_gone";

interface Transition {
  from: TierState | undefined;
  to: TierState;
  causes: readonly Cause[];
}

export const transitions: readonly Transition[] = [
  { from: undefined, to: "PLANNED", causes: ["plan"] },
  { from: "REHYDRATED", to: "PLANNED", causes: ["plan"] },
  { from: "DELETED", to: "PLANNED", causes: ["plan"] },
  { from: "PLANNED", to: "STUBBED", causes: ["stubbed"] },
  { from: "PLANNED", to: "DELETED", causes: ["cancelled", "no_longer_matching", "file_gone"] },
  { from: "STUBBED", to: "REHYDRATED", causes: ["rehydrated", "stub_overwritten"] },
  { from: "STUBBED", to: "DELETED", causes: ["file_gone"] },
  { from: "REHYDRATED", to: "DELETED", causes: ["file_gone"] },
];

/** What may be wanted of an object in a state; the table's constraint says the same. PLANNED always wants STUB. */
export const wantedIn: Readonly<Record<TierState, WantedAction>> = {
  PLANNED: "STUB",
  STUBBED: "REHYDRATE",
  REHYDRATED: "DELETE_TARGET",
  DELETED: "DELETE_TARGET",
};

/** The states out of which `cause` leads to `to`. */
export function statesBefore(to: TierState, cause: Cause): TierState[] {
  return transitions.flatMap(({ from, to: next, causes }) => (from !== undefined && next === to && causes.includes(cause) ? [from] : []));
}

export function mayChange(from: TierState | undefined, to: TierState, cause: Cause): boolean {
  return transitions.some((transition) => transition.from === from && transition.to === to && transition.causes.includes(cause));
}

/**
 * SQL, never null: whether a plan may take the file whose tier object, or the nulls of an outer join, is `t`. A copy that
 * is still to be deleted at the target must be gone first: the new one would lie in its place.
 */
export function plannable(t: string): string {
  const states = statesBefore("PLANNED", "plan").map((state) => `'${state}'`);
  return `(${t}.tier_id IS NULL OR (${t}.state IN (${states.join(", ")}) AND ${t}.wanted_action IS NULL))`;
}

/**
 * SQL assignments for the object of a file that is planned anew: what was known of the time before no longer counts. But the
 * stub of a DELETED one may still stand somewhere; what it looks like stays known, as if it had been announced.
 */
export const plannedAnew = `state = 'PLANNED', wanted_action = 'STUB', state_reason = NULL, acted_utc = NULL, attempts = 0, retry_after_utc = NULL,
  lease_holder = NULL, lease_until_utc = NULL, lease_token = NULL, stub_size_bytes = CASE state WHEN 'DELETED' THEN stub_size_bytes END,
  stub_mtime_unix = CASE state WHEN 'DELETED' THEN stub_mtime_unix END, stub_frn = CASE state WHEN 'DELETED' THEN stub_frn END`;
