/** `import FILE.csv`: a listing from a CSV, by the same stream as a scan. */
import * as fs from "node:fs/promises";
import type { Command } from "commander";
import { csvSource } from "../agent/csv.js";
import { type Scan, ScanMode } from "../gen/frostline/v1/scan_pb.js";
import { SourceType } from "../gen/frostline/v1/share_pb.js";
import { action, type Context } from "./command.js";
import { withClient } from "./connection.js";
import { ensureShare } from "./ensure-share.js";
import { type ExitStatus, UsageError } from "./errors.js";
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
