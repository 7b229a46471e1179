/** `erase share`, `person`, `tenant` and `list`: what is erased at once, and for good. */
import type { Command } from "commander";
import { type Erasure, ErasureKind, ErasureSchema, RetentionService } from "../gen/frostline/v1/retention_pb.js";
import { action, type Context } from "./command.js";
import { withClient } from "./connection.js";
import { count, isoTimestamp, table } from "./format.js";

const underWay = "Not all of it is done yet: the server's background jobs do the rest. `frostline erase list` shows when.";

export function addErase(program: Command): void {
  const erase = program.command("erase").description("erase a share, a person's name, or a tenant, for good");
  erase
    .command("share <name>")
    .description("erase a share and all that is known of it")
    .option("--abandon-tiered", "even if files are tiered: nobody will know where their content is")
    .action(
      action(async (context, { abandonTiered = false }: { abandonTiered?: boolean }, shareName: string) => {
        const { erasure } = await withClient(context.global, "admin", (client) =>
          client.unary(RetentionService.method.eraseShare, { shareName, abandonTiered }),
        );
        return done(context, erasure as Erasure);
      }),
    );
  erase
    .command("person <name>")
    .description("take a person's name out of the logs; what was done stays")
    .action(
      action(async (context, _options: object, name: string) => {
        const { erasure } = await withClient(context.global, "admin", (client) =>
          client.unary(RetentionService.method.erasePerson, { name }),
        );
        return done(context, erasure as Erasure);
      }),
    );
  erase
    .command("tenant <id>")
    .description("erase a tenant with everything it has; needs an admin key of the platform tenant")
    .requiredOption("--code <code>", "its code, so that no other is meant")
    .action(
      action(async (context, { code }: { code: string }, tenantId: string) => {
        const { erasure } = await withClient(context.global, "admin", (client) =>
          client.unary(RetentionService.method.eraseTenant, { tenantId, code }),
        );
        return done(context, erasure as Erasure);
      }),
    );
  erase
    .command("list", { isDefault: true })
    .description("who had what erased (the default)")
    .action(
      action(async (context) => {
        const { erasures } = await withClient(context.global, "admin", (client) => client.unary(RetentionService.method.listErasures, {}));
        await print(context, erasures);
        return 0;
      }),
    );
}

/** 3 while some is left to do. */
async function done(context: Context, erasure: Erasure): Promise<0 | 3> {
  await print(context, [erasure]);
  if (erasure.finishTime !== undefined) return 0;
  context.output.note(underWay);
  return 3;
}

async function print({ output }: Context, erasures: Erasure[]): Promise<void> {
  if (output.json) return output.printMessages(ErasureSchema, erasures);
  const columns = [
    { title: "ID", align: "right" as const },
    { title: "KIND" },
    { title: "OF" },
    { title: "BY" },
    { title: "ASKED" },
    { title: "DONE" },
    { title: "ROWS", align: "right" as const },
  ];
  await output.print(
    table(
      columns,
      erasures.map((one) => [
        String(one.erasureId),
        ErasureKind[one.kind].toLowerCase(),
        one.kind === ErasureKind.SHARE ? String(one.shareId) : one.tenantId || "-",
        one.requestedBy,
        isoTimestamp(one.requestTime),
        isoTimestamp(one.finishTime),
        count(one.rowsErased),
      ]),
    ),
  );
}
