/** `explain PATH`: why a plan would take a file, or not. */
import type { Command } from "commander";
import {
  type ExplainResponse,
  ExplainResponseSchema,
  type ExpressionTerm,
  PlannerService,
  RuleVerdict,
} from "../gen/frostline/v1/planner_pb.js";
import type { RuleSet } from "../gen/frostline/v1/rule_pb.js";
import { action } from "./command.js";
import { withClient } from "./connection.js";
import { escaped } from "./format.js";
import { reasonName } from "./funnel-lines.js";
import { withRules } from "./preview.js";

interface ExplainOptions {
  share: string;
  rules?: string;
  retireOthers: boolean;
}

const verdictWords: Record<RuleVerdict, string> = {
  [RuleVerdict.UNSPECIFIED]: "?",
  [RuleVerdict.NOT_APPLIED]: "does not apply: disabled, or not for this share",
  [RuleVerdict.NOT_MATCHED]: "does not match",
  [RuleVerdict.EXCLUDED]: "matches, but a condition stands in the way",
  [RuleVerdict.TAKEN]: "matches, but a rule before it has the file",
  [RuleVerdict.PLANNED]: "matches: a plan takes the file",
};

export function addExplain(program: Command): void {
  program
    .command("explain <path>")
    .description("why a plan would take a file or not: each condition, and each rule term by term")
    .requiredOption("--share <name>", "the share")
    .option("--rules <file>", "as if this file of rules were applied")
    .option("--retire-others", "rules that the file does not have no longer apply", false)
    .action(
      action(async ({ global, output }, options: ExplainOptions, path: string) => {
        const response = await withClient(global, "reader", (client) => {
          const call = (candidate?: RuleSet) =>
            client.unary(PlannerService.method.explain, {
              shareName: options.share,
              path,
              ...(candidate === undefined ? {} : { candidate }),
            });
          return options.rules === undefined ? call() : withRules(options.rules, options.retireOthers, call);
        });
        if (output.json) await output.printMessages(ExplainResponseSchema, [response]);
        else await output.print(explanationLines(response));
        for (const { message } of response.refusals) output.note(`A plan would be refused: ${message}`);
        return 0;
      }),
    );
}

function explanationLines({ path, summary, conditions, rules }: ExplainResponse): string[] {
  return [
    escaped(path),
    escaped(summary),
    "",
    ...conditions.map(({ reason, passed, detail }) => `${passed ? "  " : "! "}${reasonName(reason)}: ${escaped(detail)}`),
    ...rules.flatMap(({ ruleName, version, verdict, terms, hasCaps }) => [
      "",
      `${escaped(ruleName)}${version === 0 ? "" : ` v${version}`}: ${verdictWords[verdict] ?? "?"}${verdict === RuleVerdict.PLANNED && hasCaps ? ", if its caps leave room" : ""}`,
      ...terms.map(termLine),
    ]),
  ];
}

/** On one line. `+` what holds, `-` what does not, `!` what can be neither. */
function termLine({ depth, line, column, holds, error, text, seen }: ExpressionTerm): string {
  const sign = error === "" ? (holds ? "+" : "-") : "!";
  const values = seen.map(({ variable, value }) => `${variable} = ${escaped(value)}`).join(", ");
  const notes = [values, error].filter((note) => note !== "").join("; ");
  return `${"  ".repeat(depth + 1)}${sign} ${line}:${column}  ${escaped(text.replace(/\n\s*/g, " "))}${notes === "" ? "" : `    [${notes}]`}`;
}
