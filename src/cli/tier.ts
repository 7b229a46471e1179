/** `tier list`, `claim`, `report`, `rehydrate`, `cancel` and `delete-target`: tiered files, and what is wanted of them. */
import * as fs from "node:fs/promises";
import { text } from "node:stream/consumers";
import { fromJsonString } from "@bufbuild/protobuf";
import { type Command, InvalidArgumentError, Option } from "commander";
import {
  TierAction,
  type TierClaim,
  TierClaimSchema,
  type TierObject,
  TierObjectSchema,
  type TierReport,
  TierReportCode,
  type TierReportResult,
  TierReportResultSchema,
  TierReportSchema,
  TierService,
  TierState,
} from "../gen/frostline/v1/tier_pb.js";
import { action, type Context } from "./command.js";
import { withClient } from "./connection.js";
import { type ExitStatus, UsageError } from "./errors.js";
import { bytes, isoTimestamp, table } from "./format.js";
import { parseWhole } from "./parse.js";

const pageSize = 1000;
const states = ["PLANNED", "STUBBED", "REHYDRATED", "DELETED"] as const;
const actions = ["STUB", "REHYDRATE", "DELETE_TARGET"] as const;

export function addTier(program: Command): void {
  const tier = program.command("tier").description("tiered files: list them, work on them, and say what is wanted of them");
  addList(tier);
  addClaim(tier);
  addReport(tier);
  addRehydrate(tier);
  addCancel(tier);
  addDeleteTarget(tier);
}

interface ListOptions {
  share?: string;
  state?: (typeof states)[number];
  wanted?: (typeof actions)[number];
  rule?: string;
  limit?: number;
}

function addList(tier: Command): void {
  tier
    .command("list", { isDefault: true })
    .description("list tier objects in the order of their ids (the default)")
    .option("--share <name>", "only of this share")
    .addOption(new Option("--state <state>", "only in this state").choices(states))
    .addOption(new Option("--wanted <action>", "only those of which this is wanted").choices(actions))
    .option("--rule <name>", "only those that this rule planned, in any version")
    .option("--limit <n>", "at most so many", parseWhole(1))
    .action(
      action(async ({ global, output }, options: ListOptions) => {
        await withClient(global, "reader", async (client) => {
          const filter = {
            shareName: options.share ?? "",
            state: options.state === undefined ? TierState.UNSPECIFIED : TierState[options.state],
            wantedAction: options.wanted === undefined ? TierAction.UNSPECIFIED : TierAction[options.wanted],
            ruleName: options.rule ?? "",
          };
          let left = options.limit ?? Number.POSITIVE_INFINITY;
          let pageToken = "";
          do {
            const request = { ...filter, pageSize: Math.min(left, pageSize), pageToken };
            const page = await client.unary(TierService.method.listTierObjects, request);
            if (output.json) await output.printMessages(TierObjectSchema, page.objects);
            else await output.print(objectTable(page.objects).slice(pageToken === "" ? 0 : 1));
            left -= page.objects.length;
            pageToken = page.nextPageToken;
          } while (pageToken !== "" && left > 0);
        });
        return 0;
      }),
    );
}

interface ClaimOptions {
  share?: string;
  limit: number;
  leaseSeconds: number;
  holder: string;
}

function addClaim(tier: Command): void {
  tier
    .command("claim")
    .addArgument(tier.createArgument("<action>", "what is to be done").choices(actions))
    .description("claim objects of which something is wanted, as a mover does; report on each before its lease ends")
    .requiredOption("--holder <name>", "who claims")
    .option("--share <name>", "only of this share")
    .option("--limit <n>", "at most so many, up to 1000", parseWhole(1), 1)
    .option("--lease-seconds <n>", "how long they are this holder's, up to 86400", parseWhole(1), 600)
    .action(
      action(async ({ global, output }, options: ClaimOptions, wanted: (typeof actions)[number]) => {
        const { limit, leaseSeconds, holder, share = "" } = options;
        const request = { action: TierAction[wanted], limit, leaseSeconds, holder, shareName: share };
        const { claims } = await withClient(global, "agent", (client) => client.unary(TierService.method.claimTierObjects, request));
        if (output.json) await output.printMessages(TierClaimSchema, claims);
        else await output.print(claimTable(claims));
        return 0;
      }),
    );
}

function addReport(tier: Command): void {
  tier
    .command("report")
    .argument("<file>", "one TierReport a line, as JSON; - for stdin")
    .description("report what became of claims; exit status 3 when a report was refused")
    .action(
      action(async ({ global, output }, _options: object, file: string) => {
        const reports = await readReports(file);
        let refused = 0;
        await withClient(global, "agent", async (client) => {
          for (let from = 0; from < reports.length; from += pageSize) {
            const request = { reports: reports.slice(from, from + pageSize) };
            const { results } = await client.unary(TierService.method.reportTierObjects, request);
            refused += results.filter(({ code }) => code !== TierReportCode.ACCEPTED).length;
            if (output.json) await output.printMessages(TierReportResultSchema, results);
            else await output.print(resultTable(results).slice(from === 0 ? 0 : 1));
          }
        });
        return refused > 0 ? 3 : 0;
      }),
    );
}

async function readReports(file: string): Promise<TierReport[]> {
  const content = file === "-" ? await text(process.stdin) : await fs.readFile(file, "utf8").catch(unreadable(file));
  const lines = content.split("\n");
  return lines.flatMap((line, at) => {
    if (line.trim() === "") return [];
    try {
      return [fromJsonString(TierReportSchema, line)];
    } catch (error) {
      throw new UsageError(`${file}, line ${at + 1}: ${(error as Error).message}`, { cause: error });
    }
  });
}

function unreadable(file: string) {
  return (error: NodeJS.ErrnoException): never => {
    throw new UsageError(`${file} cannot be read: ${error.message}`, { cause: error });
  };
}

interface RehydrateOptions {
  share?: string;
  id: bigint[];
  reason: string;
}

function addRehydrate(tier: Command): void {
  tier
    .command("rehydrate")
    .argument("[paths...]", "files of the share, from its root")
    .description("want files back that are stubbed")
    .option("--share <name>", "the share that the paths are of")
    .option("--id <id>", "an object instead of a path; may be repeated", collectIds, [])
    .option("--reason <text>", "told in the log", "")
    .action(
      action(async (context, { share, id, reason }: RehydrateOptions, paths: string[]) => {
        if (paths.length > 0 === id.length > 0) throw new UsageError("Give paths and --share, or --id.");
        if (paths.length > 0 && share === undefined) throw new UsageError("Paths are of a share: give --share too.");
        const request = { tierIds: id, shareName: share ?? "", paths, reason };
        const { objects } = await withClient(context.global, "operator", (client) =>
          client.unary(TierService.method.requestRehydration, request),
        );
        return printObjects(context, objects);
      }),
    );
}

function addCancel(tier: Command): void {
  tier
    .command("cancel")
    .argument("<ids...>", "objects, by id", collectIds)
    .description("no longer want what is wanted: to tier, to rehydrate, to delete at the target")
    .option("--reason <text>", "told in the log", "")
    .action(
      action(async (context, { reason }: { reason: string }, tierIds: bigint[]) => {
        const request = { tierIds, reason };
        const { objects } = await withClient(context.global, "operator", (client) =>
          client.unary(TierService.method.cancelTierObjects, request),
        );
        return printObjects(context, objects);
      }),
    );
}

function addDeleteTarget(tier: Command): void {
  tier
    .command("delete-target")
    .argument("<ids...>", "objects, by id", collectIds)
    .description("want copies at the target deleted, of files that are back or gone; a copy of a file that is gone may be the only one")
    .option("--reason <text>", "told in the log", "")
    .action(
      action(async (context, { reason }: { reason: string }, tierIds: bigint[]) => {
        const request = { tierIds, reason };
        const { objects } = await withClient(context.global, "operator", (client) =>
          client.unary(TierService.method.requestTargetDeletion, request),
        );
        return printObjects(context, objects);
      }),
    );
}

async function printObjects({ output }: Context, objects: TierObject[]): Promise<ExitStatus> {
  if (output.json) await output.printMessages(TierObjectSchema, objects);
  else await output.print(objectTable(objects));
  return 0;
}

function parseId(id: string): bigint {
  if (!/^[1-9]\d{0,17}$/.test(id))
    throw new InvalidArgumentError(`${JSON.stringify(id)} is no object's id; \`frostline tier list\` shows them.`);
  return BigInt(id);
}

function collectIds(id: string, before: bigint[] = []): bigint[] {
  return [...before, parseId(id)];
}

function objectTable(objects: TierObject[]): string[] {
  return table(
    [
      { title: "ID", align: "right" },
      { title: "STATE" },
      { title: "WANTED" },
      { title: "SIZE", align: "right" },
      { title: "SINCE" },
      { title: "HOLDER" },
      { title: "PATH" },
      { title: "REASON" },
    ],
    objects.map((object) => [
      String(object.tierId),
      TierState[object.state],
      object.wantedAction === TierAction.UNSPECIFIED ? "-" : TierAction[object.wantedAction],
      bytes(object.planned?.sizeBytes),
      isoTimestamp(object.actTime ?? object.planTime),
      object.leaseHolder || "-",
      `${object.shareName}: ${object.path}`,
      object.stateReason,
    ]),
  );
}

function claimTable(claims: TierClaim[]): string[] {
  return table(
    [
      { title: "ID", align: "right" },
      { title: "TOKEN" },
      { title: "LEASE ENDS" },
      { title: "SIZE", align: "right" },
      { title: "PATH" },
      { title: "COPY" },
    ],
    claims.map((claim) => [
      String(claim.tierId),
      claim.leaseToken,
      isoTimestamp(claim.leaseEndTime),
      bytes(claim.planned?.sizeBytes),
      `${claim.shareName}: ${claim.path}`,
      claim.objectUri || claim.targetUri,
    ]),
  );
}

function resultTable(results: TierReportResult[]): string[] {
  return table(
    [{ title: "ID", align: "right" }, { title: "RESULT" }, { title: "STATE" }, { title: "MESSAGE" }],
    results.map(({ tierId, code, state, message }) => [
      String(tierId),
      TierReportCode[code],
      state === TierState.UNSPECIFIED ? "-" : TierState[state],
      message,
    ]),
  );
}
