/** `import FILE.csv`: a listing from a CSV, by the same stream as a scan. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { Command } from "commander";
import { type CsvSource, csvSource } from "../agent/csv.js";
import { ScanMode } from "../gen/frostline/v1/scan_pb.js";
import { type Share, SourceType } from "../gen/frostline/v1/share_pb.js";
import { action, type Context } from "./command.js";
import { withClient } from "./connection.js";
import { ensureShare } from "./ensure-share.js";
import { type ExitStatus, UsageError } from "./errors.js";
import { count } from "./format.js";
import { catchInterrupt } from "./interrupt.js";
import { scanSummary, statusOf, transfer, warningWords } from "./run-scan.js";
import { printScan } from "./scans.js";
import { type TypeName, typeOption } from "./share.js";

interface ImportOptions {
  share: string;
  type?: TypeName;
  full: boolean;
  restart: boolean;
}

export function addImport(program: Command): void {
  program
    .command("import <file>")
    .description("stream the files listed in a CSV to the server; the share is made when it is missing")
    .requiredOption("--share <name>", "the share they are of")
    .addOption(typeOption())
    .option("--full", "the CSV lists the whole share: what it lacks is gone", false)
    .option("--restart", "abandon an unfinished scan of the share instead of resuming it", false)
    .addHelpText(
      "after",
      "\nColumns, named in the first line, in any order: path, size_bytes, atime_unix, mtime_unix, ctime_unix;" +
        "\nand if known frn, allocated_bytes, link_count, owner, file_hash (SHA-256 in hex).",
    )
    .action(action(importCsv));
}

/** Rows that name no file are shown up to this many. */
const problemsShown = 20;

async function importCsv(context: Context, options: ImportOptions, file: string): Promise<ExitStatus> {
  await fs.access(file, fs.constants.R_OK).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${file} cannot be read: ${error.message}`);
  });
  const interrupt = catchInterrupt();
  try {
    return await withClient(context.global, "agent", async (client) => {
      const wanted = { shareName: options.share, type: options.type, sourceRoot: path.resolve(file), caseSensitive: undefined };
      const { share, created } = await ensureShare(client, context, wanted, interrupt.signal);
      if (created) context.output.note(`Created the share ${options.share}.`);
      const csv = await openCsv(file, share, options.full, interrupt.signal);
      try {
        sayProblems(context, csv);
        const startedMs = Date.now();
        const mode = options.full ? ScanMode.FULL : ScanMode.PARTIAL;
        const resume = options.restart ? "restart" : "auto";
        const transferred = {
          shareName: options.share,
          mode,
          uniqueFrn: false,
          exactListTimes: false,
          resume,
          source: csv.source,
        } as const;
        const { scan } = await transfer(client, context, transferred, interrupt.signal);
        await printScan(context, scan);
        context.output.note(scanSummary(scan, Date.now() - startedMs));
        const warning = warningWords(scan);
        if (warning !== undefined) context.output.note(warning);
        const status = statusOf(scan);
        return status === 0 && csv.problemCount > 0 ? 3 : status;
      } finally {
        await csv.close();
      }
    });
  } finally {
    interrupt.dispose();
  }
}

function openCsv(file: string, share: Share, full: boolean, signal: AbortSignal): Promise<CsvSource> {
  const backslashSeparates = share.sourceType !== SourceType.LUCIDLINK;
  return csvSource(file, { caseSensitive: share.caseSensitive, backslashSeparates, full, signal });
}

function sayProblems({ output }: Context, csv: CsvSource): void {
  if (csv.problemCount === 0) return;
  output.note(`${count(csv.problemCount)} rows do not say which file they are, and are left out:`);
  for (const { line, reason } of csv.problems.slice(0, problemsShown)) output.note(`  line ${line}: ${reason}`);
}
