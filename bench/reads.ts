/** A share read whole: as a scan left it, what changed between two scans of it, and its current files page by page. */
import * as path from "node:path";
import { type Bed, type BenchContext, type BenchResult, withBed } from "./bed.js";
import { type Measured, measureRun, type Operation, summarise } from "./operation.js";
import { profiling } from "./profiles.js";
import { createBenchShare, encodeChunks, replayScan, runModule } from "./replay-scan.js";

const shareName = "read";
const changeEvery = 100;

/** Throws when a count of rows is not what was scanned. */
export async function measureReads(context: BenchContext): Promise<BenchResult> {
  const { dir, files } = context;
  const whole = path.join(dir, "whole");
  const changed = path.join(dir, "changed");
  const chunks = await encodeChunks(whole, { files });
  await encodeChunks(changed, { files, changeEvery });
  return withBed(context, "reads", async (bed) => {
    await createBenchShare(bed.server, shareName);
    const from = await replayScan(bed.server, shareName, whole, chunks);
    const to = await replayScan(bed.server, shareName, changed, chunks);
    await bed.look.query("VACUUM ANALYZE");
    const differences = Math.ceil(files / changeEvery);
    return {
      operations: [
        await measureRead(context, bed, "snapshot", [String(to.scanId)], files),
        await measureRead(context, bed, "diff", [String(from.scanId), String(to.scanId)], differences),
        await measureRead(context, bed, "list", [shareName], files),
      ],
      budgets: [],
    };
  });
}

async function measureRead({ profileDir, runs }: BenchContext, bed: Bed, kind: string, args: string[], rows: number): Promise<Operation> {
  const measured: Measured[] = [];
  const read = async () => {
    const profiled = profiling(profileDir, `reader-${kind}`);
    const result = JSON.parse(await runModule(profiled, "read-agent.ts", [bed.server.address, bed.server.key, kind, ...args]));
    if (result.rows !== rows) throw new Error(`${kind}: ${result.rows} rows where ${rows} were scanned`);
    return result as { seconds: number };
  };
  // The first fills caches.
  await read();
  for (let run = 0; run < runs; run += 1) measured.push(await measureRun(bed, read));
  return summarise(kind, rows, measured);
}
