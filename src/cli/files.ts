/** `ls` and `file`: the current files. */
import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import type { Client } from "../agent/client.js";
import { type FileFilter, FileFilterSchema, type FileInfo, FileInfoSchema, FileService } from "../gen/frostline/v1/file_pb.js";
import { action } from "./command.js";
import { withClient } from "./connection.js";
import { fileHeader, fileLine, printBatches } from "./file-lines.js";
import { bytes, escaped, isoTime } from "./format.js";
import { parseSize, parseTime, parseWhole } from "./parse.js";

interface LsOptions {
  share: string;
  dir?: string;
  minSize?: bigint;
  maxSize?: bigint;
  atimeBefore?: bigint;
  mtimeBefore?: bigint;
  ext?: string;
  includeMissing: boolean;
  limit?: number;
}

/** The most a page may have; the server ends one of long paths earlier. */
const pageSize = 10_000;

const layout = { schema: FileInfoSchema, header: fileHeader, line: fileLine };

export function addLs(program: Command): void {
  program
    .command("ls")
    .description("list the current files of a share, in a stable order that is not the path's")
    .requiredOption("--share <name>", "the share")
    .option("--dir <path>", "only files in or below this directory")
    .option("--min-size <size>", "only files of at least this size, such as 10MiB", parseSize)
    .option("--max-size <size>", "only files of at most this size", parseSize)
    .option("--atime-before <time>", "only files last accessed before then: a date, a time, or an age such as 180d", parseTimeOption)
    .option("--mtime-before <time>", "only files last modified before then", parseTimeOption)
    .option("--ext <extension>", "only files with this extension")
    .option("--include-missing", "also files that are missing", false)
    .option("--limit <n>", "at most so many files", parseWhole(1))
    .action(
      action(async ({ global, output }, options: LsOptions) => {
        await withClient(global, "reader", (client) =>
          printBatches(output, layout, currentFiles(client, options.share, filterOf(options), options.limit)),
        );
        return 0;
      }),
    );
}

export function addFile(program: Command): void {
  program
    .command("file <path>")
    .alias("get")
    .description("show one current file by its path from the share's root")
    .requiredOption("--share <name>", "the share")
    .action(
      action(async ({ global, output }, options: { share: string }, path: string) => {
        const response = await withClient(global, "reader", (client) =>
          client.unary(FileService.method.getFile, { shareName: options.share, path }),
        );
        const file = response.file as FileInfo;
        if (output.json) await output.printMessages(FileInfoSchema, [file]);
        else await output.print(fileDetails(file));
        return 0;
      }),
    );
}

/** Commander hands a second argument (the value so far) to option readers. */
function parseTimeOption(text: string): bigint {
  return parseTime(text);
}

/** Pages of current files, each asked for when the one before has been used. */
async function* currentFiles(
  client: Client,
  shareName: string,
  filter: FileFilter,
  limit = Number.POSITIVE_INFINITY,
): AsyncGenerator<FileInfo[]> {
  let left = limit;
  let pageToken = "";
  do {
    const page = await client.unary(FileService.method.listFiles, { shareName, filter, pageSize: Math.min(left, pageSize), pageToken });
    left -= page.files.length;
    pageToken = page.nextPageToken;
    yield page.files;
  } while (pageToken !== "" && left > 0);
}

function filterOf(options: LsOptions): FileFilter {
  const filter = create(FileFilterSchema, {
    dirPath: options.dir ?? "",
    fileExtension: (options.ext ?? "").replace(/^\./, "").toLowerCase(),
    includeMissing: options.includeMissing,
  });
  if (options.minSize !== undefined) filter.minSizeBytes = options.minSize;
  if (options.maxSize !== undefined) filter.maxSizeBytes = options.maxSize;
  if (options.atimeBefore !== undefined) filter.atimeBeforeUnix = options.atimeBefore;
  if (options.mtimeBefore !== undefined) filter.mtimeBeforeUnix = options.mtimeBefore;
  return filter;
}

function fileDetails(file: FileInfo): string[] {
  const exact = file.sizeBytes === undefined ? "-" : `${bytes(file.sizeBytes)} (${file.sizeBytes})`;
  const rows: [string, string][] = [
    ["path", file.path],
    ["file id", String(file.fileId)],
    ["size", exact],
    ["allocated", bytes(file.allocatedBytes)],
    ["modified", isoTime(file.mtimeUnix)],
    ["accessed", `${isoTime(file.atimeUnix)} (${file.lastAccessedSource})`],
    ["changed", isoTime(file.ctimeUnix)],
    ["links", String(file.linkCount ?? "-")],
    ["owner", file.owner ?? "-"],
    ["frn", String(file.frn ?? "-")],
    ["sha-256", file.fileHash.length === 0 ? "-" : Buffer.from(file.fileHash).toString("hex")],
  ];
  if (file.missingSinceScanId !== undefined) rows.push(["missing", `since scan ${file.missingSinceScanId}`]);
  if (!file.metadataComplete) rows.push(["metadata", "incomplete: only an audit event told of this file"]);
  return rows.map(([title, value]) => `${title.padEnd(9)}  ${escaped(value)}`);
}
