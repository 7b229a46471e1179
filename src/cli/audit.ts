/** `audit DIR`: streams a LucidLink audit trail to the server. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { Command } from "commander";
import { type AuditResult, runAudit } from "../agent/audit.js";
import { findTrail } from "../agent/audit-trail.js";
import type { Client } from "../agent/client.js";
import { trailDirectory } from "../agent/lucidlink/parse.js";
import { SourceType } from "../gen/frostline/v1/share_pb.js";
import { auditJson, auditWords, createNotes, startAuditProgress } from "./audit-output.js";
import { action, type Context } from "./command.js";
import { withClient } from "./connection.js";
import { ensureShare } from "./ensure-share.js";
import { type ExitStatus, Interrupted, UsageError } from "./errors.js";
import { catchInterrupt } from "./interrupt.js";
import { parseSeconds } from "./parse.js";
import { typeName } from "./share.js";

interface AuditOptions {
  share: string;
  follow: boolean;
  /** In ms. */
  pollInterval: number;
}

export function addAudit(program: Command): void {
  program
    .command("audit <dir>")
    .description("stream a LucidLink audit trail to the server, from where it was left; the share is made when it is missing")
    .requiredOption("--share <name>", "the share that the filespace is")
    .option("--follow", "go on for what is written later, until interrupted; with --json an object for each round", false)
    .option("--poll-interval <seconds>", "how often to look for more", parseSeconds, 1000)
    .action(action(audit));
}

async function audit(context: Context, options: AuditOptions, dir: string): Promise<ExitStatus> {
  const stat = await fs.stat(dir).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${dir} cannot be read: ${error.message}`);
  });
  if (!stat.isDirectory()) throw new UsageError(`${dir} is not a directory. Give the root of the filespace, or of its audit trail.`);
  const interrupt = catchInterrupt();
  try {
    return await withClient(context.global, "agent", async (client) => {
      await shareFor(client, context, options.share, await findTrail(dir), interrupt.signal);
      return await stream(client, context, options, dir, interrupt.signal);
    });
  } finally {
    interrupt.dispose();
  }
}

/** Makes the share, or sees that it is one whose paths are read as the trail writes them. */
async function shareFor(client: Client, context: Context, shareName: string, trail: string, signal: AbortSignal): Promise<void> {
  const sourceRoot = path.basename(trail) === trailDirectory ? path.dirname(trail) : "";
  const wanted = { shareName, type: undefined, newType: "LucidLink", sourceRoot, caseSensitive: undefined } as const;
  const { share, created } = await ensureShare(client, context, wanted, signal);
  if (created) context.output.note(`Created the share ${shareName}.`);
  if (share.sourceType !== SourceType.LUCIDLINK) {
    throw new UsageError(`The share ${shareName} is of type ${typeName(share.sourceType)}, this is a LucidLink trail. Name another share.`);
  }
}

async function stream(client: Client, context: Context, options: AuditOptions, dir: string, signal: AbortSignal): Promise<ExitStatus> {
  const { share: shareName, follow, pollInterval: pollIntervalMs } = options;
  const { output } = context;
  const progress = startAuditProgress(output.terminal);
  const notes = createNotes(output);
  let refusedLines = 0;
  const print = (result: AuditResult) => output.print([output.json ? auditJson(shareName, result) : auditWords(result)]);
  try {
    const result = await runAudit(client, {
      shareName,
      dir,
      follow,
      pollIntervalMs,
      signal,
      onProgress: (now) => progress.update(now),
      onRefused: (line) => {
        refusedLines += 1;
        notes.refused(line);
      },
      onRound: async (round) => {
        notes.problems(round.problems);
        if (follow) await print(round);
      },
    });
    progress.stop();
    if (!follow) await print(result);
    else output.note(`Stopped. In all, ${auditWords(result)}`);
    notes.end(result, dir);
    return statusOf(result, refusedLines, follow);
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new Interrupted("Stopped. What was sent is kept: run the same command again to go on from there.");
  } finally {
    progress.stop();
  }
}

/** 3 when lines were refused, something could not be read, or there was no trail. */
function statusOf({ counts, problems, progress }: AuditResult, refusedLines: number, follow: boolean): ExitStatus {
  // The server's count may be lost with a connection; what was refused here was told.
  return refusedLines > 0 || counts.refused > 0n || problems.length > 0 || (!follow && progress.files === 0) ? 3 : 0;
}
