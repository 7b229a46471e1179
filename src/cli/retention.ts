/** `retention status`, `keep` and `bounds`: how long things are kept. */
import type { Command } from "commander";
import {
  GetRetentionResponseSchema,
  type RetentionBounds,
  RetentionBoundsSchema,
  type RetentionPolicy,
  RetentionPolicySchema,
  RetentionService,
} from "../gen/frostline/v1/retention_pb.js";
import { action } from "./command.js";
import { withClient } from "./connection.js";
import { count, isoTimestamp, table } from "./format.js";
import { parseWhole } from "./parse.js";

interface KeepOptions {
  share?: string;
  scans?: number;
  days?: number;
  all?: boolean;
}

interface BoundOptions {
  auditLog?: number;
  ledger?: number;
  problems?: number;
  warming?: number;
  missing?: number;
}

export function addRetention(program: Command): void {
  const retention = program.command("retention").description("how long history, logs and ledgers are kept");
  retention
    .command("status", { isDefault: true })
    .description("policies, bounds, and what the background jobs have removed (the default)")
    .action(
      action(async ({ global, output }) => {
        const state = await withClient(global, "reader", (client) => client.unary(RetentionService.method.getRetention, {}));
        if (output.json) {
          await output.printMessages(GetRetentionResponseSchema, [state]);
          return 0;
        }
        const jobs = state.jobs.map((job) => [job.job, isoTimestamp(job.lastRunTime), count(job.lastRemoved), count(job.totalRemoved)]);
        const jobColumns = [
          { title: "JOB" },
          { title: "LAST RUN" },
          { title: "REMOVED", align: "right" as const },
          { title: "EVER", align: "right" as const },
        ];
        await output.print([
          ...policyTable(state.policies),
          "",
          ...boundsTable(state.bounds as RetentionBounds),
          "",
          ...table(jobColumns, jobs),
        ]);
        return 0;
      }),
    );
  addKeep(retention);
  addBounds(retention);
}

function addKeep(retention: Command): void {
  retention
    .command("keep")
    .description("keep the last scans, or those of the last days, or what either keeps; the rest is purged and does not come back")
    .option("--share <name>", "of this share (default: of all that have no policy of their own)")
    .option("--scans <number>", "the last so many", parseWhole(1))
    .option("--days <number>", "those that ended within so many days", parseWhole(1))
    .option("--all", "everything from now on: no policy")
    .action(
      action(async ({ global, output }, { share, scans, days, all }: KeepOptions, ..._rest: unknown[]) => {
        if ((all === true) === (scans !== undefined || days !== undefined)) {
          retention.error("error: give --scans, --days or both; or --all");
        }
        const policy = {
          shareName: share ?? "",
          ...(scans === undefined ? {} : { keepScans: scans }),
          ...(days === undefined ? {} : { keepDays: days }),
        };
        const { policies } = await withClient(global, "admin", (client) =>
          client.unary(RetentionService.method.setRetentionPolicy, { policy }),
        );
        if (output.json) await output.printMessages(RetentionPolicySchema, policies);
        else await output.print(policyTable(policies));
        return 0;
      }),
    );
}

function addBounds(retention: Command): void {
  retention
    .command("bounds")
    .description("set for how many days everything but history is kept; what is not given stays")
    .option("--audit-log <days>", "accesses and changes of tier states", parseWhole(1))
    .option("--ledger <days>", "which chunks of a scan arrived, from its end", parseWhole(1))
    .option("--problems <days>", "what a scan refused or could not read, from its end", parseWhole(1))
    .option("--warming <days>", "warming events and storms", parseWhole(1))
    .option("--missing <days>", "missing files that nothing kept refers to", parseWhole(1))
    .action(
      action(async ({ global, output }, options: BoundOptions) => {
        const given = {
          auditLogDays: options.auditLog,
          ledgerDays: options.ledger,
          problemDays: options.problems,
          warmingDays: options.warming,
          missingDays: options.missing,
        };
        const bounds = Object.fromEntries(Object.entries(given).filter(([, days]) => days !== undefined));
        const response = await withClient(global, "admin", (client) =>
          client.unary(RetentionService.method.setRetentionBounds, { bounds }),
        );
        const set = response.bounds as RetentionBounds;
        if (output.json) await output.printMessages(RetentionBoundsSchema, [set]);
        else await output.print(boundsTable(set));
        return 0;
      }),
    );
}

function policyTable(policies: RetentionPolicy[]): string[] {
  return table(
    [{ title: "SHARE" }, { title: "SCANS", align: "right" }, { title: "DAYS", align: "right" }],
    policies.map(({ shareName, keepScans, keepDays }) => [shareName || "(all others)", String(keepScans ?? "-"), String(keepDays ?? "-")]),
  );
}

function boundsTable(bounds: RetentionBounds): string[] {
  const { auditLogDays, ledgerDays, problemDays, warmingDays, missingDays } = bounds;
  const rows = { "audit log": auditLogDays, ledger: ledgerDays, problems: problemDays, warming: warmingDays, "missing files": missingDays };
  return table(
    [{ title: "KEPT" }, { title: "DAYS", align: "right" }],
    Object.entries(rows).map(([name, days]) => [name, String(days)]),
  );
}
