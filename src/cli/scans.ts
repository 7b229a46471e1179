/** `scans`, `problems`, `confirm` and `abort`: scans as the server knows them. */
import type { Command } from "commander";
import {
  type Scan,
  ScanMode,
  type ScanProblem,
  ScanProblemSchema,
  ScanSchema,
  ScanService,
  ScanStatus,
} from "../gen/frostline/v1/scan_pb.js";
import { action, type Context } from "./command.js";
import { withClient } from "./connection.js";
import { bytes, type Column, count, escaped, isoTimestamp, table } from "./format.js";
import { parseScanId, parseWhole } from "./parse.js";

export function addScans(program: Command): void {
  program
    .command("scans")
    .description("list the scans of a share, newest first")
    .requiredOption("--share <name>", "the share")
    .option("--limit <n>", "at most so many", parseWhole(1))
    .action(
      action(async ({ global, output }, options: { share: string; limit?: number }) => {
        await withClient(global, "reader", async (client) => {
          let left = options.limit ?? Number.POSITIVE_INFINITY;
          let pageToken = "";
          do {
            const request = { shareName: options.share, pageSize: Math.min(left, 1000), pageToken };
            const page = await client.unary(ScanService.method.listScans, request);
            if (output.json) await output.printMessages(ScanSchema, page.scans);
            else await output.print(scanTable(page.scans).slice(pageToken === "" ? 0 : 1));
            left -= page.scans.length;
            pageToken = page.nextPageToken;
          } while (pageToken !== "" && left > 0);
        });
        return 0;
      }),
    );
}

export function addProblems(program: Command): void {
  program
    .command("problems")
    .argument("<scan>", "the scan's number", parseScanId)
    .description("list what a scan refused or could not read")
    .action(
      action(async ({ global, output }, _options: object, scanId: bigint) => {
        await withClient(global, "reader", async (client) => {
          let pageToken = "";
          do {
            const page = await client.unary(ScanService.method.listScanProblems, { scanId, pageSize: 1000, pageToken });
            if (output.json) await output.printMessages(ScanProblemSchema, page.problems);
            else await output.print(page.problems.map(problemLine));
            pageToken = page.nextPageToken;
          } while (pageToken !== "");
        });
        return 0;
      }),
    );
}

export function addConfirm(program: Command): void {
  program
    .command("confirm")
    .argument("<scan>", "the scan's number", parseScanId)
    .description("let a scan go on that the brake stopped; then run it again")
    .action(
      action(async (context, _options: object, scanId: bigint) => {
        const response = await withClient(context.global, "operator", (client) =>
          client.unary(ScanService.method.confirmBrake, { scanId }),
        );
        await printScan(context, response.scan);
        return 0;
      }),
    );
}

export function addAbort(program: Command): void {
  program
    .command("abort")
    .argument("<scan>", "the scan's number", parseScanId)
    .description("end a running scan; what it committed stays")
    .action(
      action(async (context, _options: object, scanId: bigint) => {
        const response = await withClient(context.global, "agent", (client) => client.unary(ScanService.method.abortScan, { scanId }));
        await printScan(context, response.scan);
        return 0;
      }),
    );
}

/** One scan: a JSON object, or a table. */
export async function printScan({ output }: Pick<Context, "output">, scan: Scan | undefined): Promise<void> {
  if (scan === undefined) throw new Error("The server's answer has no scan. Is it a newer version than this command?");
  if (output.json) await output.printMessages(ScanSchema, [scan]);
  else await output.print(scanTable([scan]));
}

/** `/dir/name: reason`, with bytes that are no text as the server writes them. */
export function problemLine(problem: ScanProblem): string {
  const at = problem.name === "" ? problem.dirPath : `${problem.dirPath === "/" ? "" : problem.dirPath}/${problem.name}`;
  return `${problem.unreadable ? "unreadable" : "refused"}  ${escaped(at)}: ${escaped(problem.reason)}`;
}

const scanColumns: Column[] = [
  { title: "SCAN", align: "right" },
  { title: "MODE" },
  { title: "STATUS" },
  { title: "STARTED" },
  { title: "FINISHED" },
  ...["DIRS", "FILES", "SIZE", "ADDED", "CHANGED", "REMOVED", "MOVED", "REFUSED", "UNREADABLE"].map((title) => ({
    title,
    align: "right" as const,
  })),
  { title: "BRAKE" },
];

function scanTable(scans: Scan[]): string[] {
  return table(
    scanColumns,
    scans.map((scan) => {
      const c = scan.counts;
      const numbers = c
        ? [
            count(c.directories),
            count(c.files),
            bytes(c.sizeBytes),
            ...[c.added, c.changed, c.removed, c.moved, c.refused, c.unreadableDirectories].map(count),
          ]
        : Array<string>(9).fill("-");
      const brake = scan.brake ? `${scan.brake.wouldBeMissing} would be missing, limit ${scan.brake.limit}` : "";
      const words = [ScanMode[scan.mode], ScanStatus[scan.status], isoTimestamp(scan.startTime), isoTimestamp(scan.finishTime)];
      return [String(scan.scanId), ...words, ...numbers, brake];
    }),
  );
}
