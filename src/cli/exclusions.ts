/** `exclusions list`, `add` and `remove`: whose audit events are no accesses. */
import { create } from "@bufbuild/protobuf";
import { Argument, type Command } from "commander";
import { type AuditExclusion, AuditExclusionKind, AuditExclusionSchema, AuditService } from "../gen/frostline/v1/audit_pb.js";
import { action, type Context } from "./command.js";
import { withClient } from "./connection.js";
import { table } from "./format.js";

const kindByName = {
  user: AuditExclusionKind.USER,
  host: AuditExclusionKind.HOST,
  node: AuditExclusionKind.NODE,
  action: AuditExclusionKind.ACTION,
} as const;
type KindName = keyof typeof kindByName;

interface ShareOption {
  share?: string;
}

export function addExclusions(program: Command): void {
  const exclusions = program.command("exclusions").description("whose audit events never count as an access: backups, virus scanners");
  exclusions
    .command("list", { isDefault: true })
    .description("list all of the tenant (the default)")
    .action(
      action(async (context) => {
        const { exclusions: all } = await withClient(context.global, "reader", (client) =>
          client.unary(AuditService.method.listAuditExclusions, {}),
        );
        await print(context, all);
        return 0;
      }),
    );
  withExclusion(exclusions.command("add"))
    .description("add an exclusion; it holds from the next batch of events on")
    .action(
      action(async (context, options: ShareOption, kind: KindName, value: string) => {
        const request = { exclusion: exclusionOf(options, kind, value) };
        const { exclusion } = await withClient(context.global, "operator", (client) =>
          client.unary(AuditService.method.addAuditExclusion, request),
        );
        await print(context, exclusion === undefined ? [] : [exclusion]);
        return 0;
      }),
    );
  withExclusion(exclusions.command("remove"))
    .description("remove an exclusion, given as it was added")
    .action(
      action(async (context, options: ShareOption, kind: KindName, value: string) => {
        const request = { exclusion: exclusionOf(options, kind, value) };
        await withClient(context.global, "operator", (client) => client.unary(AuditService.method.removeAuditExclusion, request));
        await print(context, [request.exclusion]);
        context.output.note("Removed.");
        return 0;
      }),
    );
}

function withExclusion(command: Command): Command {
  return command
    .addArgument(new Argument("<kind>", "what is compared").choices(Object.keys(kindByName)))
    .argument("<value>", "compared whole, case and all, with what the trail says")
    .option("--share <name>", "for this share only (default: all of the tenant)");
}

function exclusionOf({ share }: ShareOption, kind: KindName, value: string): AuditExclusion {
  return create(AuditExclusionSchema, { shareName: share ?? "", kind: kindByName[kind], value });
}

async function print({ output }: Context, exclusions: AuditExclusion[]): Promise<void> {
  if (output.json) return output.printMessages(AuditExclusionSchema, exclusions);
  const names = new Map<AuditExclusionKind, string>(Object.entries(kindByName).map(([name, kind]) => [kind, name]));
  const rows = exclusions.map(({ kind, value, shareName }) => [names.get(kind) ?? "?", value, shareName === "" ? "(all)" : shareName]);
  await output.print(table([{ title: "KIND" }, { title: "VALUE" }, { title: "SHARE" }], rows));
}
