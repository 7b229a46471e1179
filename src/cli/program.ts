/** The command line as a whole: global options, every command, and the exit status. */
import { readFileSync } from "node:fs";
import { Command, Option } from "commander";
import { addAudit } from "./audit.js";
import { addBootstrap } from "./bootstrap.js";
import { addCursors } from "./cursors.js";
import { addDemo } from "./demo.js";
import { addErase } from "./erase.js";
import { describeError } from "./errors.js";
import { addExclusions } from "./exclusions.js";
import { addExplain } from "./explain.js";
import { addFile, addLs } from "./files.js";
import { addDiff, addSnapshot } from "./history.js";
import { addHolds } from "./holds.js";
import { addImport } from "./import.js";
import { addJobs } from "./jobs.js";
import { addKey } from "./key.js";
import { addMigrate } from "./migrate.js";
import { addPlan, addPlans } from "./plan.js";
import { addCompare, addPreview } from "./preview.js";
import { addRetention } from "./retention.js";
import { addRules } from "./rules.js";
import { addScan } from "./scan.js";
import { addAbort, addConfirm, addProblems, addScans } from "./scans.js";
import { addSecrets } from "./secrets.js";
import { addServe } from "./serve.js";
import { addShare } from "./share.js";
import { addTenant } from "./tenant.js";
import { addTier } from "./tier.js";
import { addVerify } from "./verify.js";
import { addWarming } from "./warming.js";
import { addWebhooks } from "./webhooks.js";

const commands = [
  addServe,
  addMigrate,
  addBootstrap,
  addVerify,
  addDemo,
  addTenant,
  addKey,
  addShare,
  addScan,
  addImport,
  addAudit,
  addCursors,
  addExclusions,
  addWarming,
  addScans,
  addProblems,
  addConfirm,
  addAbort,
  addLs,
  addFile,
  addSnapshot,
  addDiff,
  addRules,
  addHolds,
  addPreview,
  addCompare,
  addExplain,
  addPlan,
  addPlans,
  addTier,
  addRetention,
  addErase,
  addWebhooks,
  addSecrets,
  addJobs,
];

/** All commands; nothing is read or connected before one of them runs. */
export function createProgram(): Command {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };
  const program = new Command("frostline")
    .description("A true, current inventory of file shares, and which of their files are cold.")
    .version(version)
    .addOption(
      new Option(
        "--server <addresses>",
        "server to call, host:port or https://host:port; of several with commas between them the first that can be reached (default: the local one)",
      ).env("FROSTLINE_SERVER"),
    )
    .addOption(
      new Option("--key <key>", "API key or token (default: the local server's); FROSTLINE_KEY hides it from ps").env("FROSTLINE_KEY"),
    )
    .addOption(new Option("--ca <file>", "PEM of the authorities that the server's certificate is checked against").env("FROSTLINE_CA"))
    .addOption(new Option("--client-cert <file>", "PEM of a client certificate").env("FROSTLINE_CLIENT_CERT"))
    .addOption(new Option("--client-key <file>", "PEM of its private key").env("FROSTLINE_CLIENT_KEY"))
    .addOption(new Option("--data <dir>", "data of the local server").env("FROSTLINE_DATA").default(".frostline"))
    .option("--json", "write JSON to stdout, one object a line, and nothing else", false)
    .option("--verbose", "show the stack trace of an error", false)
    .configureHelp({ showGlobalOptions: true })
    .addHelpText("after", "\nExit status: 0 done, 1 failed, 2 wrong usage, 3 done with warnings.")
    .exitOverride();
  for (const add of commands) add(program);
  return program;
}

/** Runs one command line (argv as in process.argv) and sets the process's exit code; never throws. */
export async function runCommandLine(argv: string[]): Promise<void> {
  try {
    await createProgram().parseAsync(argv);
  } catch (error) {
    const { status, message } = describeError(error, argv.includes("--verbose"));
    process.stderr.write(message);
    process.exitCode = status;
  }
}
