/** `share create` and `share list`, and the share a scan makes for itself. */
import { create } from "@bufbuild/protobuf";
import { type Command, Option } from "commander";
import {
  type CreateShareRequest,
  CreateShareRequestSchema,
  type Share,
  ShareSchema,
  ShareService,
  SourceType,
} from "../gen/frostline/v1/share_pb.js";
import { action } from "./command.js";
import { withClient } from "./connection.js";
import { isoTimestamp, table } from "./format.js";
import { parseDuration, parseWhole } from "./parse.js";

const typeByName = { NTFS: SourceType.NTFS, SMB: SourceType.SMB, LucidLink: SourceType.LUCIDLINK } as const;
export type TypeName = keyof typeof typeByName;

/** Windows has NTFS; elsewhere names follow POSIX, as LucidLink's do. */
export const defaultType: TypeName = process.platform === "win32" ? "NTFS" : "LucidLink";

/** `--type`, as several commands have it. */
export function typeOption(): Option {
  return new Option("--type <type>", "how paths are read: NTFS and SMB separate names by \\ and ignore case, LucidLink is POSIX").choices(
    Object.keys(typeByName),
  );
}

export function sourceType(name: TypeName): SourceType {
  return typeByName[name];
}

export function typeName(type: SourceType): string {
  return Object.entries(typeByName).find(([, value]) => value === type)?.[0] ?? "?";
}

interface CreateOptions {
  type: TypeName;
  volumeId?: string;
  sourceRoot?: string;
  caseSensitive?: boolean;
  brakePercent?: number;
}

export function addShare(program: Command): void {
  const share = program.command("share").description("create and list shares");
  share
    .command("create <name>")
    .description("create a share")
    .addOption(typeOption().default(defaultType))
    .option("--volume-id <id>", "the source's own identity of the volume (LucidLink: filespaceUuid)")
    .option("--source-root <path>", "where agents find its root")
    .option("--case-sensitive", "names that differ only in case are different names")
    .option("--no-case-sensitive", "they are the same name")
    .option("--brake-percent <percent>", "files one scan may mark missing without confirmation (default: 50)", parseWhole(1))
    .action(
      action(async ({ global, output }, options: CreateOptions, name: string) => {
        const request: CreateShareRequest = create(CreateShareRequestSchema, {
          shareName: name,
          sourceType: sourceType(options.type),
          volumeId: options.volumeId ?? "",
          sourceRoot: options.sourceRoot ?? "",
          ...(options.caseSensitive === undefined ? {} : { caseSensitive: options.caseSensitive }),
          ...(options.brakePercent === undefined ? {} : { brakePercent: options.brakePercent }),
        });
        const response = await withClient(global, "operator", (client) => client.unary(ShareService.method.createShare, request));
        const made = response.share as Share;
        if (output.json) await output.printMessages(ShareSchema, [made]);
        else await output.print(shareTable([made]));
        return 0;
      }),
    );
  share
    .command("list")
    .description("list all shares")
    .action(
      action(async ({ global, output }) => {
        const { shares } = await withClient(global, "reader", (client) => client.unary(ShareService.method.listShares, {}));
        if (output.json) await output.printMessages(ShareSchema, shares);
        else await output.print(shareTable(shares));
        return 0;
      }),
    );
  addStaleAlarm(share);
}

function addStaleAlarm(share: Command): void {
  share
    .command("stale-alarm")
    .argument("<age>", "as 26h or 8d; 0s: no alarm", parseDuration)
    .description("set how old the last complete scan may get before the share is stale and webhooks are told")
    .requiredOption("--share <name>", "the share")
    .action(
      action(async ({ global, output }, { share: shareName }: { share: string }, ageSeconds: number) => {
        const request = { shareName, staleScanAlarmSeconds: BigInt(ageSeconds) };
        const response = await withClient(global, "operator", (client) => client.unary(ShareService.method.setStaleScanAlarm, request));
        const set = response.share as Share;
        if (output.json) await output.printMessages(ShareSchema, [set]);
        else await output.print(shareTable([set]));
        return 0;
      }),
    );
}

function shareTable(shares: Share[]): string[] {
  const columns = [
    { title: "SHARE" },
    { title: "TYPE" },
    { title: "CASE" },
    { title: "BRAKE", align: "right" as const },
    { title: "STORM", align: "right" as const },
    { title: "LAST SCAN", align: "right" as const },
    { title: "COMPLETED" },
    { title: "STALE AFTER" },
    { title: "VOLUME" },
    { title: "ROOT" },
  ];
  return table(
    columns,
    shares.map((share) => [
      share.shareName,
      typeName(share.sourceType),
      share.caseSensitive ? "sensitive" : "ignored",
      `${share.brakePercent} %`,
      `${share.stormFilesPerMinute} /min`,
      share.lastCompleteScanId === 0n ? "-" : String(share.lastCompleteScanId),
      isoTimestamp(share.lastCompleteTime),
      share.staleScanAlarmSeconds === 0n ? "-" : `${share.staleScanAlarmSeconds} s${share.stale ? " (stale)" : ""}`,
      share.volumeId || "-",
      share.sourceRoot,
    ]),
  );
}
