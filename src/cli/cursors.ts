/** `cursors list` and `cursors reset`: how far audit files were read. */
import type { Command } from "commander";
import { type AuditCursor, AuditCursorSchema, AuditService } from "../gen/frostline/v1/audit_pb.js";
import { action } from "./command.js";
import { withClient } from "./connection.js";
import { count, isoTimestamp, table } from "./format.js";
import { parseWhole } from "./parse.js";

const pageSize = 1000;

export function addCursors(program: Command): void {
  const cursors = program.command("cursors").description("list how far audit files were read, and set a position back");
  cursors
    .command("list", { isDefault: true })
    .description("list the cursors of a share (the default)")
    .requiredOption("--share <name>", "the share")
    .action(
      action(async ({ global, output }, options: { share: string }) => {
        await withClient(global, "reader", async (client) => {
          let pageToken = "";
          do {
            const page = await client.unary(AuditService.method.listAuditCursors, { shareName: options.share, pageSize, pageToken });
            if (output.json) await output.printMessages(AuditCursorSchema, page.cursors);
            else await output.print(cursorTable(page.cursors).slice(pageToken === "" ? 0 : 1));
            pageToken = page.nextPageToken;
          } while (pageToken !== "");
        });
        return 0;
      }),
    );
  cursors
    .command("reset <file>")
    .description("read an audit file again from an earlier position on; a running agent notices within a minute")
    .requiredOption("--share <name>", "the share")
    .requiredOption("--position <bytes>", "the byte to go on from, 0 for the whole file", parseWhole(0))
    .action(
      action(async ({ global, output }, options: { share: string; position: number }, auditFilePath: string) => {
        const request = { shareName: options.share, auditFilePath, position: BigInt(options.position) };
        const { cursor } = await withClient(global, "operator", (client) => client.unary(AuditService.method.resetAuditCursor, request));
        const set = cursor as AuditCursor;
        if (output.json) await output.printMessages(AuditCursorSchema, [set]);
        else await output.print(cursorTable([set]));
        return 0;
      }),
    );
}

function cursorTable(cursors: AuditCursor[]): string[] {
  return table(
    [{ title: "POSITION", align: "right" }, { title: "GENERATION", align: "right" }, { title: "LAST READ" }, { title: "FILE" }],
    cursors.map((cursor) => [
      count(cursor.position),
      String(cursor.generation),
      isoTimestamp(cursor.lastProcessedTime),
      cursor.auditFilePath,
    ]),
  );
}
