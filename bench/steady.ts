/** Unchanged rescans one after the other, with checkpoints and autovacuum as they come: what a share costs that lies still. */
import * as path from "node:path";
import { type BenchContext, type BenchResult, withBed } from "./bed.js";
import { atMost } from "./budgets.js";
import { type Measured, measureRun, summarise } from "./operation.js";
import { type Growth, growth, relations } from "./relations.js";
import { createBenchShare, encodeChunks, replayScan } from "./replay-scan.js";

const rescans = 10;
/** The first reads what the first scan wrote and leaves hint bits, each with its page in the WAL; the second finds all as it will be. */
const settlingRescans = 2;
const shareName = "steady";
/** A row a scan and a row a chunk. */
const mayGrow = ["scan", "ingest_chunk"];
const growthPercent = 2;

export async function measureSteady(context: BenchContext): Promise<BenchResult> {
  const { dir, files } = context;
  const chunkFile = path.join(dir, "whole");
  const chunks = await encodeChunks(chunkFile, { files });
  return withBed(context, "steady", async (bed) => {
    await createBenchShare(bed.server, shareName);
    for (let scan = 0; scan <= settlingRescans; scan += 1) await replayScan(bed.server, shareName, chunkFile, chunks);
    const before = await relations(bed.look);
    const measured: Measured[] = [];
    for (let scan = 0; scan < rescans; scan += 1)
      measured.push(await measureRun(bed, () => replayScan(bed.server, shareName, chunkFile, chunks)));
    const grown = growth(before, await relations(bed.look)).filter(grewMuch);
    const walBytesPerFile = measured.map(({ walBytes }) => walBytes / files);
    printSteady(walBytesPerFile, grown);
    const mean = walBytesPerFile.reduce((sum, bytes) => sum + bytes, 0) / rescans;
    const others = grown.filter(({ table }) => !mayGrow.includes(table));
    return {
      operations: [summarise(`unchanged rescan, ${rescans} in a row`, files, measured)],
      budgets: [
        atMost(`WAL of an unchanged rescan, mean of ${rescans}`, mean, 40, "B a file"),
        atMost(`tables and indexes that grew by more than ${growthPercent} %`, others.length, 0, "others"),
      ],
      more: { walBytesPerFile, grown },
    };
  });
}

function grewMuch({ bytes, grownBytes }: Growth): boolean {
  return grownBytes > ((bytes - grownBytes) * growthPercent) / 100;
}

/** On stderr: stdout is for --json. */
function printSteady(walBytesPerFile: number[], grown: Growth[]): void {
  console.error(`\nWAL of ${rescans} unchanged rescans, B a file: ${walBytesPerFile.map((bytes) => bytes.toFixed(1)).join(", ")}`);
  console.error(`grew by more than ${growthPercent} % over them${grown.length === 0 ? ": nothing" : ""}`);
  for (const { name, table, bytes, grownBytes } of grown)
    console.error(`  ${name}${name === table ? "" : ` (${table})`}: ${bytes - grownBytes} to ${bytes} B`);
}
