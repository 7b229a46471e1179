/** `scan DIR`: walks a directory tree and streams it to the server. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { Command } from "commander";
import { ScanMode } from "../gen/frostline/v1/scan_pb.js";
import { SourceType } from "../gen/frostline/v1/share_pb.js";
import { action, type Context } from "./command.js";
import { withClient } from "./connection.js";
import { ensureShare, isCaseSensitive } from "./ensure-share.js";
import { type ExitStatus, UsageError } from "./errors.js";
import { catchInterrupt } from "./interrupt.js";
import { collect, parseWhole } from "./parse.js";
import { scanSummary, statusOf, transfer, warningWords } from "./run-scan.js";
import { printScan } from "./scans.js";
import { type TypeName, typeOption } from "./share.js";
import { passedBy, walkSource } from "./walk-source.js";

interface ScanOptions {
  share: string;
  type?: TypeName;
  exclude: string[];
  defaultExcludes: boolean;
  oneFileSystem: boolean;
  maxFilesPerSecond?: number;
  hash: boolean;
  partial: boolean;
  restart: boolean;
}

export function addScan(program: Command): void {
  program
    .command("scan <dir>")
    .description("walk a directory tree and stream it to the server; the share is made when it is missing")
    .requiredOption("--share <name>", "the share that the tree is")
    .addOption(typeOption())
    .option("--exclude <glob>", "leave out what matches, by path from the root or by name; may be repeated", collect, [])
    .option("--no-default-excludes", "also record .snapshot, ~snapshot, .lucid_audit, .frostline, $RECYCLE.BIN, System Volume Information")
    .option("--one-file-system", "do not descend into other file systems", false)
    .option("--max-files-per-second <n>", "look at no more files a second than this", parseWhole(1))
    .option("--hash", "read every file and record its SHA-256 (slow; fetches LucidLink data from the cloud)", false)
    .option("--partial", "mark nothing missing that this scan does not list", false)
    .option("--restart", "abandon an unfinished scan of the share instead of resuming it", false)
    .action(action(scan));
}

async function scan(context: Context, options: ScanOptions, dir: string): Promise<ExitStatus> {
  const root = path.resolve(dir);
  const stat = await fs.stat(root).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${dir} cannot be scanned: ${error.message}`);
  });
  if (!stat.isDirectory()) throw new UsageError(`${dir} is not a directory. Give the root of the tree to scan.`);
  const interrupt = catchInterrupt();
  try {
    return await withClient(context.global, "agent", async (client) => {
      const caseSensitive = options.type === undefined ? await isCaseSensitive(root) : undefined;
      const { signal } = interrupt;
      const wanted = { shareName: options.share, type: options.type, sourceRoot: root, caseSensitive };
      const { share, created } = await ensureShare(client, context, wanted, signal);
      if (created) context.output.note(`Created the share ${options.share}.`);
      const walked = walkSource(root, { ...options, backslashSeparates: share.sourceType !== SourceType.LUCIDLINK, signal });
      const startedMs = Date.now();
      const { scan } = await transfer(
        client,
        context,
        {
          shareName: options.share,
          mode: options.partial ? ScanMode.PARTIAL : ScanMode.FULL,
          uniqueFrn: process.platform === "win32",
          exactListTimes: true,
          resume: options.restart ? "restart" : "auto",
          source: walked.source,
        },
        signal,
      );
      await printScan(context, scan);
      context.output.note(scanSummary(scan, Date.now() - startedMs));
      for (const words of [passedBy(walked.stats()), warningWords(scan)]) if (words !== undefined) context.output.note(words);
      const status = statusOf(scan);
      return status === 0 && walked.stats().hashErrors > 0 ? 3 : status;
    });
  } finally {
    interrupt.dispose();
  }
}
