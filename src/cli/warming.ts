/** `warming`: who needs tiered files, now and lately. */
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import type { Client } from "../agent/client.js";
import { followWarming } from "../agent/follow-warming.js";
import {
  type WarmingEvent,
  WarmingEventSchema,
  WarmingService,
  WarmingStormSchema,
  WatchWarmingResponseSchema,
} from "../gen/frostline/v1/warming_pb.js";
import { action, type Context } from "./command.js";
import { withClient } from "./connection.js";
import { type ExitStatus, Interrupted } from "./errors.js";
import { printBatches } from "./file-lines.js";
import { count } from "./format.js";
import { catchInterrupt } from "./interrupt.js";
import { parsePosition, parseTime, parseWhole } from "./parse.js";
import { alarmLine, eventHeader, eventLine, stormHeader, stormLine } from "./warming-lines.js";

const pageSize = 1000;

const events = { schema: WarmingEventSchema, header: eventHeader, line: eventLine };
const storms = { schema: WarmingStormSchema, header: stormHeader, line: stormLine };

interface ListOptions {
  share?: string;
  since?: bigint;
  path?: string;
  user?: string;
  limit?: number;
}

interface WatchOptions {
  share?: string;
  after?: bigint;
}

export function addWarming(program: Command): void {
  const warming = program.command("warming").description("accesses to tiered files");
  warming
    .command("list", { isDefault: true })
    .description("list accesses to tiered files, in the order in which they became known (the default)")
    .option("--share <name>", "only of this share")
    .option("--since <time>", "only accesses since then: a date, a time, or an age such as 7d", (text: string) => parseTime(text))
    .option("--path <path>", "only of this file, or of what is in or below this directory; with --share")
    .option("--user <name>", "only by this user, as the trail has it")
    .option("--limit <n>", "at most so many", parseWhole(1))
    .action(
      action(async ({ global, output }, options: ListOptions) => {
        await withClient(global, "reader", (client) => printBatches(output, events, eventPages(client, options)));
        return 0;
      }),
    );
  warming
    .command("storms")
    .description("list times in which more tiered files were accessed than a share's limit")
    .option("--share <name>", "only of this share")
    .action(
      action(async ({ global, output }, options: { share?: string }) => {
        await withClient(global, "reader", (client) => printBatches(output, storms, stormPages(client, options.share ?? "")));
        return 0;
      }),
    );
  warming
    .command("watch")
    .description("print accesses to tiered files and alarms as they come, until interrupted")
    .option("--share <name>", "only of this share")
    .option("--after <position>", "go on behind this position, 0 for all there is; default: only what comes from now on", parsePosition)
    .action(action(watch));
  warming
    .command("limit")
    .argument("<files>", "how many", parseWhole(1))
    .description("set how many different tiered files of a share may be accessed in a minute before that is a storm")
    .requiredOption("--share <name>", "the share")
    .action(action(setLimit));
}

async function setLimit({ global, output }: Context, { share }: { share: string }, filesPerMinute: number): Promise<ExitStatus> {
  const request = { shareName: share, filesPerMinute };
  const set = await withClient(global, "operator", (client) => client.unary(WarmingService.method.setStormLimit, request));
  if (output.json) await output.printMessages(WarmingService.method.setStormLimit.output, [set]);
  else await output.print([`More than ${count(set.filesPerMinute)} tiered files a minute are a storm on ${share}.`]);
  return 0;
}

async function* eventPages(
  client: Client,
  { share = "", since, path = "", user = "", limit = Number.POSITIVE_INFINITY }: ListOptions,
): AsyncGenerator<WarmingEvent[]> {
  const sinceTime = since === undefined ? {} : { sinceTime: timestampFromDate(new Date(Number(since) * 1000)) };
  let left = limit;
  let pageToken = "";
  do {
    const request = { shareName: share, path, user, ...sinceTime, pageSize: Math.min(left, pageSize), pageToken };
    const page = await client.unary(WarmingService.method.listWarmingEvents, request);
    left -= page.events.length;
    pageToken = page.nextPageToken;
    yield page.events;
  } while (pageToken !== "" && left > 0);
}

async function* stormPages(client: Client, shareName: string) {
  let pageToken = "";
  do {
    const page = await client.unary(WarmingService.method.listWarmingStorms, { shareName, pageSize, pageToken });
    pageToken = page.nextPageToken;
    yield page.storms;
  } while (pageToken !== "");
}

async function watch({ global, output }: Context, options: WatchOptions): Promise<ExitStatus> {
  const interrupt = catchInterrupt();
  let last = options.after;
  try {
    await withClient(global, "reader", async (client) => {
      const onBroken = (error: unknown, position: bigint | undefined) =>
        output.note(
          `The watch broke (${(error as Error).message}). Going on ${position === undefined ? "" : `behind position ${position} `}when the server is back.`,
        );
      const follow = { shareName: options.share ?? "", afterPosition: options.after, signal: interrupt.signal, onBroken };
      for await (const response of followWarming(client, follow)) {
        const { case: kind, value } = response.message;
        if (kind === undefined) continue;
        last = value.position;
        if (kind === "behind") output.note(`Behind by ${count(value.newestPosition - value.position)} positions; reading on.`);
        if (output.json && kind !== "progress") await output.printMessages(WatchWarmingResponseSchema, [response]);
        else if (kind === "event") await output.print([eventLine(value)]);
        else if (kind === "storm") await output.print([alarmLine(value)]);
      }
    });
    return 0;
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    throw new Interrupted(last === undefined ? "Stopped." : `Stopped. Go on from here with --after ${last}.`);
  } finally {
    interrupt.dispose();
  }
}
