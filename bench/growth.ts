/** What a file of a rescan and an audit event cost in a share of a million files, and in a large one. */
import * as path from "node:path";
import { auditedShare, printAudit } from "./audit.js";
import { type BenchContext, type BenchResult, withBed } from "./bed.js";
import { atMost } from "./budgets.js";
import { type Measured, measureRun, type Operation, summarise } from "./operation.js";
import { createBenchShare, encodeChunks, replayScan } from "./replay-scan.js";
import { median } from "./report.js";
import { auditBench, measureEvents } from "./trail.js";

export const largeFiles = 10_000_000;
const ratioAtMost = 1.3;
/** On two cores, with all that is around an operation: encoding, proving the invariants. */
const secondsPerMillionFiles = 30;
const secondsPerMillionRescanned = 4;

/** The large share has `files`, the other a tenth of them. */
export async function measureGrowth(context: BenchContext): Promise<BenchResult> {
  const sizes = [Math.ceil(context.files / 10), context.files];
  console.error(`\ngrowth of ${sizes.join(" to ")} files: some ${Math.ceil(expectedSeconds(context, sizes) / 60)} min on two cores`);
  const [small, large] = [await measureSize(context, sizes[0] as number), await measureSize(context, sizes[1] as number)];
  const perItem = ({ seconds, items }: Operation) => median(seconds) / items;
  return {
    operations: [small.rescan, small.events, large.rescan, large.events],
    budgets: [
      atMost(`a file of a rescan, of ${sizes[1]} beside ${sizes[0]}`, perItem(large.rescan) / perItem(small.rescan), ratioAtMost),
      atMost(`an audit event, of ${sizes[1]} beside ${sizes[0]}`, perItem(large.events) / perItem(small.events), ratioAtMost),
    ],
  };
}

function expectedSeconds({ runs, seconds }: BenchContext, sizes: number[]): number {
  const millions = sizes.reduce((sum, files) => sum + files, 0) / 1e6;
  return millions * (secondsPerMillionFiles + (runs + 1) * secondsPerMillionRescanned) + sizes.length * seconds * 2;
}

async function measureSize(context: BenchContext, files: number): Promise<{ rescan: Operation; events: Operation }> {
  const chunkFile = path.join(context.dir, "growing");
  const chunks = await encodeChunks(chunkFile, { files });
  return withBed(context, `growth_${files}`, async (bed) => {
    await createBenchShare(bed.server, auditedShare);
    const scan = () => replayScan(bed.server, auditedShare, chunkFile, chunks);
    await scan();
    // The first rescan pays for what the first scan left, at either size.
    await scan();
    const measured: Measured[] = [];
    for (let run = 0; run < context.runs; run += 1) measured.push(await measureRun(bed, scan));
    const { operation, figures } = await measureEvents(bed, auditBench(context, bed, files));
    printAudit(figures);
    return {
      rescan: summarise(`unchanged rescan of ${files}`, files, measured),
      events: { ...operation, name: `audit events in ${files}` },
    };
  });
}
