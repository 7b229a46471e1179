/** What a plan would do, without doing it. */
import type { Pool } from "pg";
import { readTenant } from "../db/tenant.js";
import { countFunnel } from "./count.js";
import type { Funnel } from "./funnel.js";
import type { RuleSet } from "./rule-set.js";
import { loadSample, type SampleFile, sampleBudget } from "./sample.js";
import { loadSituation, type Refusal, refusalsOf } from "./situation.js";
import { plannerSettings } from "./statement.js";

export interface PreviewRequest {
  shareName: string;
  /** Undefined: the rules in force. */
  candidate?: RuleSet | undefined;
  /** The most files in a rule's sample. */
  sampleSize: number;
  nowUnix: bigint;
}

export interface Preview {
  funnel: Funnel;
  /** Of each rule of the funnel. */
  samples: SampleFile[][];
  refusals: Refusal[];
}

/** In a read-only transaction without locks, as a replica allows. Throws NOT_FOUND (share), INVALID_ARGUMENT (candidate). */
export async function previewPlan(pool: Pool, tenantId: string, request: PreviewRequest): Promise<Preview> {
  return readTenant(pool, tenantId, async (client) => {
    await client.query(plannerSettings);
    const situation = await loadSituation(client, tenantId, request.shareName, request.nowUnix, request.candidate);
    const funnel = await countFunnel(client, situation);
    const wanted = funnel.rules.map(({ sample }) => sample.slice(0, request.sampleSize));
    // A planned file is in the sample of one rule.
    const files = await loadSample(client, tenantId, situation.share.src_type, wanted.flat(), sampleBudget());
    const samples = wanted.map((ids) => files.filter(({ fileId }) => ids.includes(fileId)));
    return { funnel, samples, refusals: refusalsOf(situation, funnel.planned) };
  });
}
