/** The body of a message. What it tells of is read when it is sent: who was erased since is not in it, and no name is stored twice. */
import type { ClientBase } from "pg";
import { renderPath } from "../paths.js";
import { readEvents, type WarmingEvent } from "../warming/warming-event.js";
import { readStorms } from "../warming/warming-storm.js";
import { accessesOfMessageAtMost } from "./limits.js";

/** A delivery, with what its webhook wants. */
export interface ToTell {
  eventType: string;
  createdUtc: Date;
  /** Null: of a share that is being erased, as is its name. */
  shareId: bigint | null;
  shareName: string | null;
  fromPosition: bigint | null;
  toPosition: bigint | null;
  facts: object | null;
  includePaths: boolean;
  includePeople: boolean;
}

/** JSON; undefined when what it would tell of is not kept any more. Within a transaction of the tenant. */
export async function renderMessage(client: ClientBase, tenantId: string, delivery: ToTell): Promise<string | undefined> {
  const data = await dataOf(client, tenantId, delivery);
  return data && JSON.stringify({ type: delivery.eventType, timestamp: delivery.createdUtc.toISOString(), data });
}

/** Names and forms of the contract's JSON: 64-bit numbers are text. */
async function dataOf(client: ClientBase, tenantId: string, delivery: ToTell): Promise<object | undefined> {
  const { eventType, shareId, shareName, facts } = delivery;
  if (shareId === null || shareName === null) return undefined;
  if (delivery.fromPosition === null || delivery.toPosition === null) return { shareName, ...facts };
  const range = { after: delivery.fromPosition - 1n, upTo: delivery.toPosition };
  if (eventType === "warming.storm") {
    const [storm] = await readStorms(client, tenantId, shareId, { ...range, limit: 1 });
    return (
      storm && {
        shareName,
        position: String(storm.position),
        beginTime: storm.began_utc.toISOString(),
        files: String(storm.files),
        filesPerMinuteLimit: String(storm.files_per_minute_limit),
      }
    );
  }
  const events = await readEvents(client, tenantId, { shareId, inStorm: false }, { ...range, limit: accessesOfMessageAtMost });
  return events.length === 0 ? undefined : { shareName, accesses: events.map((event) => accessOf(event, delivery)) };
}

function accessOf(event: WarmingEvent, { includePaths, includePeople }: ToTell): object {
  return {
    position: String(event.position),
    eventTime: event.event_utc.toISOString(),
    fileId: String(event.file_current_id),
    ...(event.size_bytes === null ? {} : { sizeBytes: String(event.size_bytes) }),
    ruleName: event.rule_name ?? "",
    ...(includePaths ? { path: renderPath(event.src_type, event.dir_path, event.name) } : {}),
    ...(includePeople ? { user: event.actor ?? "", host: event.host ?? "" } : {}),
  };
}
