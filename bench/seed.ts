/** The original proposal's schema and statements, see yardsticks.ts. */
import type { BenchContext, BenchResult } from "./bed.js";
import { timeOnly } from "./operation.js";
import { seedSeconds } from "./yardsticks.js";

export const seedFirstScan = "seed's statements, first scan";

/** Time only: no process but PostgreSQL has a part in it. */
export async function measureSeed({ postgres, files }: BenchContext): Promise<BenchResult> {
  const { firstScan, rescan } = await seedSeconds(postgres.url("postgres", "postgres"), files);
  return { operations: [timeOnly(seedFirstScan, files, [firstScan]), timeOnly("seed's statements, rescan", files, [rescan])], budgets: [] };
}
