/** First scan, unchanged rescan and one with 1 % changed, over gRPC from another process. */
import * as path from "node:path";
import { type BenchContext, type BenchResult, withBed } from "./bed.js";
import { atLeast, atMost, type Budget } from "./budgets.js";
import { type Measured, measureRun, type Operation, summarise } from "./operation.js";
import { createBenchShare, encodeChunks, replayScan } from "./replay-scan.js";
import { median } from "./report.js";
import { seedFirstScan } from "./seed.js";

export async function measureScans(context: BenchContext): Promise<BenchResult> {
  const { dir, files, runs } = context;
  const whole = path.join(dir, "whole");
  const changed = path.join(dir, "changed");
  const chunks = await encodeChunks(whole, { files });
  await encodeChunks(changed, { files, changeEvery: 100 });
  const operations = await withBed(context, "scans", async (bed) => {
    const measured: Record<"first scan" | "unchanged rescan" | "1 % changed", Measured[]> = {
      "first scan": [],
      "unchanged rescan": [],
      "1 % changed": [],
    };
    for (let run = 0; run < runs; run += 1) {
      const share = `share ${run}`;
      await createBenchShare(bed.server, share);
      const scan = async (file: string) => {
        await context.rawCopy.measure();
        // So that none of them pays for what the one before it left to write.
        await bed.look.query("CHECKPOINT");
        return measureRun(bed, () => replayScan(bed.server, share, file, chunks));
      };
      measured["first scan"].push(await scan(whole));
      measured["unchanged rescan"].push(await scan(whole));
      measured["1 % changed"].push(await scan(changed));
    }
    return Object.entries(measured).map(([name, all]) => summarise(name, files, all));
  });
  return { operations, budgets: budgetsOf(operations, context) };
}

function budgetsOf(operations: Operation[], context: BenchContext): Budget[] {
  const raw = median(context.rawCopy.seconds);
  const [first, rescan, onePercent] = operations.map(({ seconds }) => median(seconds)) as [number, number, number];
  const budgets = [
    atMost("first scan, beside raw COPY", first / raw, 6),
    atMost("unchanged rescan, beside raw COPY", rescan / raw, 2.5),
    atMost("1 % changed, beside raw COPY", onePercent / raw, 3),
    atMost(
      "CPU of the server in scans",
      Math.max(...operations.map(({ use }) => use?.cpuSecondsPerMillion.server ?? Number.NaN)),
      3,
      "s per million files",
    ),
  ];
  const seed = context.earlier.get("seed")?.operations.find(({ name }) => name === seedFirstScan);
  if (seed) budgets.push(atLeast("first scan, times as fast as the seed's statements", median(seed.seconds) / first, 6));
  return budgets;
}
