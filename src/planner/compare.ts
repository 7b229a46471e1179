/** What other rules than those in force would plan, and what no longer. */
import type { ClientBase, Pool } from "pg";
import { readTenant } from "../db/tenant.js";
import { bitOf, chosenSql, matchedSql, ruleBitSql } from "./classify.js";
import { add, empty, type Totals } from "./funnel.js";
import type { AppliedRule, RuleSet } from "./rule-set.js";
import { loadSample, type SampleFile, sampleBudget } from "./sample.js";
import { loadSituation, type Situation } from "./situation.js";
import { plannerSettings, StatementParams } from "./statement.js";

export interface RuleDifference {
  /** The rule in force that plans the files; undefined: none. */
  before: AppliedRule | undefined;
  /** The candidate. */
  after: AppliedRule | undefined;
  totals: Totals;
  sample: SampleFile[];
}

export interface Comparison {
  both: Totals;
  newlyPlanned: Totals;
  noLongerPlanned: Totals;
  /** Without the files that the rule of one name plans under both. */
  differences: RuleDifference[];
}

interface DifferenceRow {
  before_bit: bigint | null;
  after_bit: bigint | null;
  files: bigint;
  bytes: string;
  allocated_bytes: string;
  file_ids: bigint[];
}

/** Reads alone. Caps count, as in a plan. Throws NOT_FOUND (share), INVALID_ARGUMENT (candidate). */
export async function compareRules(
  pool: Pool,
  tenantId: string,
  request: { shareName: string; candidate: RuleSet; sampleSize: number; nowUnix: bigint },
): Promise<Comparison> {
  return readTenant(pool, tenantId, async (client) => {
    await client.query(plannerSettings);
    const before = await loadSituation(client, tenantId, request.shareName, request.nowUnix);
    const after = await loadSituation(client, tenantId, request.shareName, request.nowUnix, request.candidate);
    const comparison: Comparison = { both: empty(), newlyPlanned: empty(), noLongerPlanned: empty(), differences: [] };
    const budget = sampleBudget();
    for (const row of await differencesOf(client, before, after, request.sampleSize)) {
      const [old, now] = [ruleOf(before, row.before_bit), ruleOf(after, row.after_bit)];
      const totals = { files: row.files, bytes: BigInt(row.bytes), allocatedBytes: BigInt(row.allocated_bytes) };
      add(old === undefined ? comparison.newlyPlanned : now === undefined ? comparison.noLongerPlanned : comparison.both, totals);
      if (old?.name === now?.name) continue;
      const sample = await loadSample(client, tenantId, before.share.src_type, row.file_ids, budget);
      comparison.differences.push({ before: old, after: now, totals, sample });
    }
    return comparison;
  });
}

function ruleOf({ rules }: Situation, bit: bigint | null): AppliedRule | undefined {
  return bit === null ? undefined : rules.find((_, place) => bitOf(place) === bit);
}

async function differencesOf(client: ClientBase, before: Situation, after: Situation, sampleSize: number): Promise<DifferenceRow[]> {
  const params = new StatementParams();
  const size = `${params.add(sampleSize)}::integer`;
  const { rows } = await client.query<DifferenceRow>(
    `WITH before AS MATERIALIZED (${plannedSql(before, params)}), after AS MATERIALIZED (${plannedSql(after, params)}), compared AS (
       SELECT coalesce(b.file_current_id, a.file_current_id) AS file_current_id, coalesce(b.size_bytes, a.size_bytes) AS size_bytes,
         coalesce(b.allocated_bytes, a.allocated_bytes) AS allocated_bytes, b.bit AS before_bit, a.bit AS after_bit
       FROM before b FULL JOIN after a ON a.file_current_id = b.file_current_id
     ), numbered AS (
       SELECT *, row_number() OVER (PARTITION BY before_bit, after_bit ORDER BY file_current_id) AS ordinal FROM compared
     )
     SELECT before_bit, after_bit, count(*) AS files, sum(size_bytes) AS bytes, sum(allocated_bytes) AS allocated_bytes,
       array_agg(file_current_id ORDER BY ordinal) FILTER (WHERE ordinal <= ${size}) AS file_ids
     FROM numbered GROUP BY before_bit, after_bit ORDER BY before_bit NULLS FIRST, after_bit NULLS LAST`,
    params.values,
  );
  return rows;
}

/** The files that a plan takes, each with its rule's bit. */
function plannedSql(situation: Situation, params: StatementParams): string {
  const chosen = chosenSql(situation.rules, params);
  if (chosen === undefined)
    return "SELECT NULL::bigint AS file_current_id, NULL::bigint AS size_bytes, NULL::bigint AS allocated_bytes, NULL::bigint AS bit WHERE false";
  return `WITH matched AS (${matchedSql(situation, params)})
    SELECT file_current_id, size_bytes, allocated_bytes, ${ruleBitSql} AS bit FROM (${chosen}) chosen`;
}
