/** `preview` and `compare`: what a plan would do, by these rules or by others. */
import type { Command } from "commander";
import type { Client } from "../agent/client.js";
import {
  type CompareRulesResponse,
  CompareRulesResponseSchema,
  PlannerService,
  type PreviewResponse,
  PreviewResponseSchema,
} from "../gen/frostline/v1/planner_pb.js";
import type { RuleSet } from "../gen/frostline/v1/rule_pb.js";
import { action, type Context } from "./command.js";
import { withClient } from "./connection.js";
import type { ExitStatus } from "./errors.js";
import { bytes, count, table } from "./format.js";
import { funnelLines, sampleLines } from "./funnel-lines.js";
import { parseWhole } from "./parse.js";
import { located } from "./rules.js";
import { readRulesFile } from "./rules-file.js";

/** Counting some hundred million files takes minutes. */
const timeoutMs = 600_000;

interface PreviewOptions {
  share: string;
  rules?: string;
  retireOthers: boolean;
  sample: number;
}

export function addPreview(program: Command): void {
  withOptions(program.command("preview"))
    .description("count what a plan of a share would take, and why not the rest; changes nothing")
    .option("--rules <file>", "as if this file of rules were applied")
    .action(action(preview));
}

export function addCompare(program: Command): void {
  withOptions(program.command("compare <file>"))
    .description("which files a plan would take if this file of rules were applied, and which no longer; changes nothing")
    .action(
      action(async ({ global, output }, options: PreviewOptions, path: string) => {
        const response = await withClient(global, "reader", (client) =>
          withRules(path, options.retireOthers, (candidate) =>
            client.unary(
              PlannerService.method.compareRules,
              { shareName: options.share, candidate, sampleSize: options.sample },
              { timeoutMs },
            ),
          ),
        );
        if (output.json) await output.printMessages(CompareRulesResponseSchema, [response]);
        else await output.print(comparisonLines(response));
        return 0;
      }),
    );
}

function withOptions(command: Command): Command {
  return command
    .requiredOption("--share <name>", "the share")
    .option("--retire-others", "rules that the file does not have no longer apply", false)
    .option("--sample <n>", "show up to so many files of each kind, at most 100", parseWhole(1), 10);
}

/** Status 3 when Plan would refuse. */
async function preview({ global, output }: Context, options: PreviewOptions): Promise<ExitStatus> {
  const call = (client: Client, candidate?: RuleSet) => {
    const request = { shareName: options.share, sampleSize: options.sample, ...(candidate === undefined ? {} : { candidate }) };
    return client.unary(PlannerService.method.preview, request, { timeoutMs });
  };
  const response: PreviewResponse = await withClient(global, "reader", (client) =>
    options.rules === undefined ? call(client) : withRules(options.rules, options.retireOthers, (candidate) => call(client, candidate)),
  );
  if (output.json) await output.printMessages(PreviewResponseSchema, [response]);
  else if (response.funnel) {
    const samples = response.funnel.rules.flatMap(({ ruleName, sample }) => sampleLines(`SOME THAT ${ruleName} PLANS`, sample));
    await output.print([...funnelLines(response.funnel), ...samples]);
  }
  for (const { message } of response.refusals) output.note(`A plan would be refused: ${message}`);
  return response.refusals.length > 0 ? 3 : 0;
}

/** Calls with the rules of a file; a fault of one is told with its place there. */
export async function withRules<T>(path: string, retireOthers: boolean, call: (candidate: RuleSet) => Promise<T>): Promise<T> {
  const file = await readRulesFile(path, retireOthers);
  return call(file.ruleSet).catch((error) => {
    throw located(file, error);
  });
}

function comparisonLines({ both, newlyPlanned, noLongerPlanned, differences }: CompareRulesResponse): string[] {
  const rows = (
    [
      ["planned under both", both],
      ["newly planned", newlyPlanned],
      ["no longer planned", noLongerPlanned],
    ] as const
  ).map(([what, totals]) => [what, count(totals?.files ?? 0n), bytes(totals?.bytes ?? 0n), bytes(totals?.allocatedBytes ?? 0n)]);
  const columns = [
    { title: "FILES THAT ARE" },
    { title: "FILES", align: "right" },
    { title: "SIZE", align: "right" },
    { title: "ALLOCATED", align: "right" },
  ] as const;
  const details = differences.flatMap(({ beforeRuleName, afterRuleName, totals, sample }) => {
    const words = `${beforeRuleName || "(none)"} -> ${afterRuleName || "(none)"}: ${count(totals?.files ?? 0n)} files, ${bytes(totals?.bytes ?? 0n)}`;
    return sampleLines(words, sample);
  });
  return [...table([...columns], rows), ...details];
}
