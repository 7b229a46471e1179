/** What becomes of the files that rules match, counted: a preview's answer, and what a plan records. Pure. */
import { bitOf, type ExclusionReason, exclusionReasons, hasCaps } from "./classify.js";
import type { AppliedRule } from "./rule-set.js";

export interface Totals {
  files: bigint;
  bytes: bigint;
  allocatedBytes: bigint;
}

/** Files that are alike in all that a funnel tells apart. */
export interface Group extends Totals {
  mask: bigint;
  /** As of matchedSql. */
  reason: number;
  ageClass: number;
  sizeClass: number;
  /** The least and the greatest: a sample. */
  fileIds: bigint[];
}

export interface Breakdown {
  matched: Totals;
  excluded: Map<ExclusionReason, Totals>;
  capped: Totals;
  planned: Totals;
  /** By class, as of classes.ts. */
  plannedByAge: Map<number, Totals>;
  plannedBySize: Map<number, Totals>;
}

/** matched = excluded + taken + capped + planned. */
export interface RuleFunnel extends Breakdown {
  rule: AppliedRule;
  /** By a rule before it, though that may leave it to its own caps. */
  taken: Totals;
  /** Ids of planned files: of each group one, then another of each. */
  sample: bigint[];
}

/** Each file once. */
export interface Funnel extends Breakdown {
  rules: RuleFunnel[];
}

/**
 * `matched` are the groups of all files that a rule matches, `capped` those that a plan takes of the rules that have caps, with
 * the mask and class of each.
 */
export function funnelOf(rules: readonly AppliedRule[], matched: Group[], capped: Group[]): Funnel {
  const funnels = rules.map((rule, place) => ruleFunnel(rule, bitOf(place), matched, capped));
  const total = emptyBreakdown();
  for (const group of matched) {
    add(total.matched, group);
    if (group.reason > 0) addTo(total.excluded, reasonOf(group), group);
  }
  for (const funnel of funnels) {
    add(total.capped, funnel.capped);
    add(total.planned, funnel.planned);
    for (const [at, totals] of funnel.plannedByAge) addTo(total.plannedByAge, at, totals);
    for (const [at, totals] of funnel.plannedBySize) addTo(total.plannedBySize, at, totals);
  }
  return { ...total, rules: funnels };
}

function ruleFunnel(rule: AppliedRule, bit: bigint, matched: Group[], capped: Group[]): RuleFunnel {
  const funnel: RuleFunnel = { ...emptyBreakdown(), rule, taken: empty(), sample: [] };
  const eligible: Group[] = [];
  for (const group of matched) {
    if ((group.mask & bit) === 0n) continue;
    add(funnel.matched, group);
    if (group.reason > 0) addTo(funnel.excluded, reasonOf(group), group);
    else if (lowestBit(group.mask) === bit) eligible.push(group);
    else add(funnel.taken, group);
  }
  const planned = hasCaps(rule) ? capped.filter((group) => lowestBit(group.mask) === bit) : eligible;
  for (const group of planned) {
    add(funnel.planned, group);
    addTo(funnel.plannedByAge, group.ageClass, group);
    addTo(funnel.plannedBySize, group.sizeClass, group);
  }
  funnel.capped = difference(sum(eligible), funnel.planned);
  funnel.sample = sampleOf(planned);
  return funnel;
}

function lowestBit(mask: bigint): bigint {
  return mask & -mask;
}

function reasonOf(group: Group): ExclusionReason {
  return exclusionReasons[group.reason - 1] as ExclusionReason;
}

function sampleOf(groups: Group[]): bigint[] {
  return [...new Set([...groups.map(({ fileIds }) => fileIds[0]), ...groups.map(({ fileIds }) => fileIds[1])])].filter(
    (id) => id !== undefined,
  );
}

export function empty(): Totals {
  return { files: 0n, bytes: 0n, allocatedBytes: 0n };
}

function emptyBreakdown(): Breakdown {
  return { matched: empty(), excluded: new Map(), capped: empty(), planned: empty(), plannedByAge: new Map(), plannedBySize: new Map() };
}

export function add(to: Totals, { files, bytes, allocatedBytes }: Totals): void {
  to.files += files;
  to.bytes += bytes;
  to.allocatedBytes += allocatedBytes;
}

function addTo<Key>(to: Map<Key, Totals>, key: Key, totals: Totals): void {
  const at = to.get(key) ?? empty();
  add(at, totals);
  to.set(key, at);
}

function sum(all: Totals[]): Totals {
  const total = empty();
  for (const totals of all) add(total, totals);
  return total;
}

function difference(a: Totals, b: Totals): Totals {
  return { files: a.files - b.files, bytes: a.bytes - b.bytes, allocatedBytes: a.allocatedBytes - b.allocatedBytes };
}
