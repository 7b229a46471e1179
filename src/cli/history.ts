/** `snapshot` and `diff`: a share as its scans saw it. */
import type { Command } from "commander";
import type { Client } from "../agent/client.js";
import {
  FileChange,
  type FileDifference,
  FileDifferenceSchema,
  type FileInfo,
  FileInfoSchema,
  FileService,
} from "../gen/frostline/v1/file_pb.js";
import { action } from "./command.js";
import { withClient } from "./connection.js";
import { fileHeader, fileLine, printBatches } from "./file-lines.js";
import { parseScanId } from "./parse.js";

const changeWord: Record<FileChange, string> = {
  [FileChange.UNSPECIFIED]: "?",
  [FileChange.ADDED]: "added",
  [FileChange.CHANGED]: "changed",
  [FileChange.REMOVED]: "removed",
};
const snapshotLayout = { schema: FileInfoSchema, header: fileHeader, line: fileLine };
const diffLayout = {
  schema: FileDifferenceSchema,
  header: `${"CHANGE".padEnd(7)}  ${fileHeader}`,
  line: ({ change, file }: FileDifference) => `${changeWord[change].padEnd(7)}  ${file === undefined ? "" : fileLine(file)}`,
};

export function addSnapshot(program: Command): void {
  program
    .command("snapshot")
    .argument("<scan>", "the scan's number", parseScanId)
    .description("list a share exactly as a scan left it")
    .action(
      action(async ({ global, output }, _options: object, scanId: bigint) => {
        await withClient(global, "reader", (client) => printBatches(output, snapshotLayout, snapshot(client, scanId)));
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
        await withClient(global, "reader", (client) => printBatches(output, diffLayout, differences(client, fromScanId, toScanId)));
        return 0;
      }),
    );
}

async function* snapshot(client: Client, scanId: bigint): AsyncGenerator<FileInfo[]> {
  for await (const { files } of client.serverStream(FileService.method.streamSnapshot, { scanId })) yield files;
}

async function* differences(client: Client, fromScanId: bigint, toScanId: bigint): AsyncGenerator<FileDifference[]> {
  const stream = client.serverStream(FileService.method.streamDiff, { fromScanId, toScanId });
  for await (const { differences } of stream) yield differences;
}
