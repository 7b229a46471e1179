/** `rules apply`, `list`, `show` and `retire`: what the planner goes by. */
import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import type { Client } from "../agent/client.js";
import { RpcError } from "../agent/rpc-error.js";
import { type ApplyRulesResponse, ApplyRulesResponseSchema, type Rule, RuleSchema, RuleService } from "../gen/frostline/v1/rule_pb.js";
import { action, type Context } from "./command.js";
import { withClient } from "./connection.js";
import { type ExitStatus, UsageError } from "./errors.js";
import { isoTimestamp, table } from "./format.js";
import { parseWhole } from "./parse.js";
import { changeWords, diffLines, isChange } from "./rules-diff.js";
import { type RulesFile, readRulesFile } from "./rules-file.js";

interface ApplyOptions {
  yes: boolean;
  dryRun: boolean;
  retireOthers: boolean;
}

export function addRules(program: Command): void {
  const rules = program.command("rules").description("the rules that say which files are cold (docs/rules.md)");
  rules
    .command("apply <file>")
    .description("bring the rules in force to what a YAML file says; shows what would change, and asks")
    .option("-y, --yes", "do not ask", false)
    .option("--dry-run", "only show what would change", false)
    .option("--retire-others", "retire rules in force that the file does not have", false)
    .action(action(apply));
  rules
    .command("list", { isDefault: true })
    .description("list the rules in force in the order of application (the default)")
    .option("--all", "all versions, also retired ones, the newest first", false)
    .action(action(list));
  rules
    .command("show <name>")
    .description("show a rule as it is in force, or one of its versions")
    .option("--rule-version <n>", "this version", parseWhole(1))
    .action(
      action(async ({ global, output }, options: { ruleVersion?: number }, name: string) => {
        const request = { name, version: options.ruleVersion ?? 0 };
        const { rule } = await withClient(global, "reader", (client) => client.unary(RuleService.method.getRule, request));
        await output.printMessages(RuleSchema, [rule as Rule]);
        return 0;
      }),
    );
  rules
    .command("retire <name>")
    .description("take a rule out of force; what it planned stays as it is")
    .action(
      action(async ({ global, output }, _options: object, name: string) => {
        await withClient(global, "operator", (client) => client.unary(RuleService.method.deleteRule, { name }));
        output.note(`Retired ${name}.`);
        return 0;
      }),
    );
}

async function apply(context: Context, options: ApplyOptions, path: string): Promise<ExitStatus> {
  const { global, output } = context;
  const file = await readRulesFile(path, options.retireOthers);
  return withClient(global, "operator", async (client) => {
    const planned = await callWith(client, file, { validateOnly: true, expectedEtag: "" });
    const print = (result: ApplyRulesResponse) =>
      output.json ? output.printMessages(ApplyRulesResponseSchema, [result]) : output.print(diffLines(result.changes));
    if (options.dryRun || !planned.changes.some(isChange)) {
      await print(planned);
      output.note(changeWords(planned.changes));
      return 0;
    }
    if (!options.yes) {
      if (!output.json) await print(planned);
      if (!(await confirmed(output.terminal && process.stdin.isTTY === true))) {
        output.note("Nothing was changed.");
        return 1;
      }
    }
    const applied = await callWith(client, file, { validateOnly: false, expectedEtag: planned.etag });
    if (options.yes || output.json) await print(applied);
    output.note(`Applied: ${changeWords(applied.changes)}`);
    return 0;
  });
}

async function callWith(
  client: Client,
  file: RulesFile,
  how: { validateOnly: boolean; expectedEtag: string },
): Promise<ApplyRulesResponse> {
  return client.unary(RuleService.method.applyRules, { ruleSet: file.ruleSet, ...how }).catch((error) => {
    throw located(file, error);
  });
}

/** A fault of a rule, with its place in the file; any other error unchanged. */
export function located(file: RulesFile, error: unknown): unknown {
  return (error instanceof RpcError && file.locate(error)) || error;
}

/** Throws UsageError when nobody can be asked. */
async function confirmed(terminal: boolean): Promise<boolean> {
  if (!terminal) throw new UsageError("Nobody can be asked here. Pass --yes to apply, or --dry-run to see what would change.");
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await prompt.question("Apply? [y/N] ").finally(() => prompt.close());
  return /^y(es)?$/i.test(answer.trim());
}

async function list({ global, output }: Context, options: { all: boolean }): Promise<ExitStatus> {
  await withClient(global, "reader", async (client) => {
    let pageToken = "";
    do {
      const page = await client.unary(RuleService.method.listRules, { includeRetired: options.all, pageSize: 200, pageToken });
      if (output.json) await output.printMessages(RuleSchema, page.rules);
      else await output.print(ruleTable(page.rules).slice(pageToken === "" ? 0 : 1));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  });
  return 0;
}

function ruleTable(rules: Rule[]): string[] {
  return table(
    [
      { title: "PRIORITY", align: "right" },
      { title: "NAME" },
      { title: "VERSION", align: "right" },
      { title: "STATE" },
      { title: "SHARES" },
      { title: "TARGET" },
      { title: "SINCE" },
    ],
    rules.map(({ spec, version, createTime, retireTime }) => [
      String(spec?.priority),
      spec?.name ?? "",
      String(version),
      retireTime ? "retired" : spec?.enabled ? "in force" : "disabled",
      spec?.shareNames.join(", ") || "(all)",
      spec?.targetUri ?? "",
      isoTimestamp(createTime),
    ]),
  );
}
