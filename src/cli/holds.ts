/** `holds list`, `add` and `remove`: paths that are never tiered. */
import type { Command } from "commander";
import { type Hold, HoldSchema, RuleService } from "../gen/frostline/v1/rule_pb.js";
import { action, type Context } from "./command.js";
import { withClient } from "./connection.js";
import { isoTimestamp, table } from "./format.js";
import { parseWhole } from "./parse.js";

export function addHolds(program: Command): void {
  const holds = program.command("holds").description("paths that are never tiered, whatever the rules say");
  holds
    .command("list", { isDefault: true })
    .description("list the holds (the default)")
    .option("--share <name>", "of this share only")
    .action(
      action(async (context, options: { share?: string }) => {
        const request = { shareName: options.share ?? "" };
        const { holds: all } = await withClient(context.global, "reader", (client) => client.unary(RuleService.method.listHolds, request));
        await print(context, all);
        return 0;
      }),
    );
  holds
    .command("add <glob>")
    .description('hold the paths that a pattern matches, such as "/Active/**"; safe to repeat')
    .requiredOption("--share <name>", "the share")
    .requiredOption("--reason <text>", "why, for whoever wonders later")
    .action(
      action(async (context, options: { share: string; reason: string }, pathGlob: string) => {
        const request = { shareName: options.share, pathGlob, reason: options.reason };
        const { hold } = await withClient(context.global, "operator", (client) => client.unary(RuleService.method.addHold, request));
        await print(context, [hold as Hold]);
        return 0;
      }),
    );
  holds
    .command("remove")
    .description("remove a hold")
    .argument("<id>", "its number, as listed", parseWhole(1))
    .action(
      action(async (context, _options: object, id: number) => {
        const request = { holdId: BigInt(id) };
        const { hold } = await withClient(context.global, "operator", (client) => client.unary(RuleService.method.removeHold, request));
        await print(context, [hold as Hold]);
        context.output.note("Removed.");
        return 0;
      }),
    );
}

async function print({ output }: Context, holds: Hold[]): Promise<void> {
  if (output.json) return output.printMessages(HoldSchema, holds);
  await output.print(
    table(
      [{ title: "ID", align: "right" }, { title: "SHARE" }, { title: "PATHS" }, { title: "BY" }, { title: "SINCE" }, { title: "REASON" }],
      holds.map(({ holdId, shareName, pathGlob, createdBy, createTime, reason }) => [
        String(holdId),
        shareName,
        pathGlob,
        createdBy,
        isoTimestamp(createTime),
        reason,
      ]),
    ),
  );
}
