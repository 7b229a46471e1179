/** `snapshot` and `diff`: a share as its scans saw it. */
import type { Command } from "commander";
import { FileChange, FileDifferenceSchema, FileInfoSchema, FileService } from "../gen/frostline/v1/file_pb.js";
import { action } from "./command.js";
import { withClient } from "./connection.js";
import { fileHeader, fileLine } from "./files.js";
import { parseScanId } from "./parse.js";

const changeWord: Record<FileChange, string> = {
  [FileChange.UNSPECIFIED]: "?",
  [FileChange.ADDED]: "added",
  [FileChange.CHANGED]: "changed",
  [FileChange.REMOVED]: "removed",
};

export function addSnapshot(program: Command): void {
  program
    .command("snapshot")
    .argument("<scan>", "the scan's number", parseScanId)
    .description("list a share exactly as a scan left it")
    .action(
      action(async ({ global, output }, _options: object, scanId: bigint) => {
        await withClient(global, "reader", async (client) => {
          if (!output.json) await output.print([fileHeader]);
          for await (const { files } of client.serverStream(FileService.method.streamSnapshot, { scanId })) {
            if (output.json) await output.printMessages(FileInfoSchema, files);
            else await output.print(files.map(fileLine));
          }
        });
        return 0;
      }),
    );
}

export function addDiff(program: Command): void {
  program
    .command("diff")
    .argument("<from-scan>", "the earlier scan's number", parseScanId)
    .argument("<to-scan>", "the later scan's number", parseScanId)
    .description("list what changed between two scans of one share")
    .action(
      action(async ({ global, output }, _options: object, fromScanId: bigint, toScanId: bigint) => {
        await withClient(global, "reader", async (client) => {
          if (!output.json) await output.print([`${"CHANGE".padEnd(7)}  ${fileHeader}`]);
          for await (const { differences } of client.serverStream(FileService.method.streamDiff, { fromScanId, toScanId })) {
            if (output.json) await output.printMessages(FileDifferenceSchema, differences);
            else
              await output.print(
                differences.flatMap(({ change, file }) => (file ? [`${changeWord[change].padEnd(7)}  ${fileLine(file)}`] : [])),
              );
          }
        });
        return 0;
      }),
    );
}
