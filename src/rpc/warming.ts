/** frostline.v1.WarmingService */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { DomainError } from "../errors.js";
import type { WarmingEventSchema, WarmingService, WarmingStormSchema, WatchWarmingResponseSchema } from "../gen/frostline/v1/warming_pb.js";
import { renderPath } from "../paths.js";
import { listEvents, listStorms } from "../warming/list-warming.js";
import { setStormLimit } from "../warming/storm-limit.js";
import type { WarmingEvent } from "../warming/warming-event.js";
import type { WarmingStorm } from "../warming/warming-storm.js";
import { type WatchItem, watchWarming } from "../warming/watch.js";
import { caller, type ServerDeps } from "./context.js";
import { optionalDate } from "./convert.js";
import { countThatFit, decodePageToken, encodePageToken, pageSize, pageTokenNumber, type Sized } from "./pages.js";

const defaultPageSize = 1000;
const maxPageSize = 10_000;

export function warmingService({ pool, warmingFeed, drainSignal }: ServerDeps): ServiceImpl<typeof WarmingService> {
  return {
    async listWarmingEvents(request, call) {
      const limit = pageSize(request.pageSize, defaultPageSize, maxPageSize);
      const [after = "0"] = decodePageToken(request.pageToken, 1) ?? [];
      const filter = {
        shareName: request.shareName || undefined,
        sinceUtc: optionalDate("since_time", request.sinceTime),
        path: request.path || undefined,
        user: request.user || undefined,
      };
      const events = await listEvents(pool, caller(call).tenantId, filter, pageTokenNumber(after), limit);
      const texts = ({ dir_path, name, share_name, actor, host, rule_name }: WarmingEvent) => [
        dir_path,
        name,
        share_name,
        actor,
        host,
        rule_name,
      ];
      const page = events.slice(0, countThatFit(events.map(texts).map(sized), limit));
      const isLast = page.length === events.length && events.length < limit;
      return { events: page.map(toEvent), nextPageToken: tokenAfter(page, isLast) };
    },
    async listWarmingStorms(request, call) {
      const limit = pageSize(request.pageSize, defaultPageSize, maxPageSize);
      const [after = "0"] = decodePageToken(request.pageToken, 1) ?? [];
      const storms = await listStorms(pool, caller(call).tenantId, request.shareName || undefined, pageTokenNumber(after), limit);
      const page = storms.slice(
        0,
        countThatFit(
          storms.map(({ share_name }) => sized([share_name])),
          limit,
        ),
      );
      const isLast = page.length === storms.length && storms.length < limit;
      return { storms: page.map(toStorm), nextPageToken: tokenAfter(page, isLast) };
    },
    async *watchWarming({ shareName, afterPosition }, call) {
      const { tenantId, callerId, tokenExpiresMs } = caller(call);
      const signal = AbortSignal.any([call.signal, drainSignal]);
      const request = { tenantId, callerId, tokenExpiresMs, shareName: shareName || undefined, after: afterPosition };
      for await (const item of watchWarming(pool, warmingFeed, request, signal)) yield toMessage(item);
      if (drainSignal.aborted) {
        throw new DomainError("UNAVAILABLE", "The server is stopping. Resume with the last position, here or at another one.", {
          reason: "SERVER_DRAINING",
          retryDelayMs: 500,
        });
      }
    },
    async setStormLimit({ shareName, filesPerMinute }, call) {
      await setStormLimit(pool, caller(call).tenantId, shareName, filesPerMinute);
      return { filesPerMinute };
    },
  };
}

/** What of a row is as long as somebody made it. */
function sized([first, ...others]: (string | null)[]): Sized {
  return { dir_path: first ?? "", name: others.join("") };
}

function tokenAfter(page: { position: bigint }[], isLast: boolean): string {
  const last = page.at(-1);
  return isLast || last === undefined ? "" : encodePageToken([last.position]);
}

function toMessage(item: WatchItem): MessageInitShape<typeof WatchWarmingResponseSchema> {
  if ("event" in item) return { message: { case: "event", value: toEvent(item.event) } };
  if ("storm" in item) return { message: { case: "storm", value: toStorm(item.storm) } };
  if ("progress" in item) return { message: { case: "progress", value: item.progress } };
  return { message: { case: "behind", value: { position: item.behind.position, newestPosition: item.behind.newest } } };
}

function toEvent(event: WarmingEvent): MessageInitShape<typeof WarmingEventSchema> {
  return {
    position: event.position,
    tierId: event.tier_id,
    fileId: event.file_current_id,
    shareName: event.share_name,
    path: renderPath(event.src_type, event.dir_path, event.name),
    eventTime: timestampFromDate(event.event_utc),
    recordTime: timestampFromDate(event.recorded_utc),
    user: event.actor ?? "",
    host: event.host ?? "",
    inStorm: event.in_storm,
    ...(event.size_bytes === null ? {} : { sizeBytes: event.size_bytes }),
    ruleName: event.rule_name ?? "",
  };
}

function toStorm(storm: WarmingStorm): MessageInitShape<typeof WarmingStormSchema> {
  return {
    position: storm.position,
    shareName: storm.share_name,
    beginTime: timestampFromDate(storm.began_utc),
    endTime: timestampFromDate(storm.until_utc),
    files: storm.files,
    filesPerMinuteLimit: BigInt(storm.files_per_minute_limit),
    accesses: storm.accesses,
    recordTime: timestampFromDate(storm.recorded_utc),
  };
}
