/** Warming events and storms as lines. */
import type { WarmingEvent, WarmingStorm } from "../gen/frostline/v1/warming_pb.js";
import { count, escaped, isoTimestamp } from "./format.js";

/** Widths are fixed: lists are printed as they arrive. */
export const eventHeader = `${"POSITION".padStart(10)}  ${"ACCESSED".padEnd(24)}  ${"USER".padEnd(20)}  ${"HOST".padEnd(20)}  SHARE  PATH`;

export function eventLine(event: WarmingEvent): string {
  const who = `${escaped(event.user || "-").padEnd(20)}  ${escaped(event.host || "-").padEnd(20)}`;
  const storm = event.inStorm ? "  (in a storm)" : "";
  return `${String(event.position).padStart(10)}  ${isoTimestamp(event.eventTime)}  ${who}  ${escaped(event.shareName)}  ${escaped(event.path)}${storm}`;
}

export const stormHeader = `${"POSITION".padStart(10)}  ${"BEGAN".padEnd(24)}  ${"ENDS".padEnd(24)}  ${"FILES".padStart(9)}  ${"LIMIT".padStart(9)}  ${"ACCESSES".padStart(10)}  SHARE`;

export function stormLine(storm: WarmingStorm): string {
  const times = `${isoTimestamp(storm.beginTime)}  ${isoTimestamp(storm.endTime)}`;
  const counts = `${count(storm.files).padStart(9)}  ${count(storm.filesPerMinuteLimit).padStart(9)}  ${count(storm.accesses).padStart(10)}`;
  return `${String(storm.position).padStart(10)}  ${times}  ${counts}  ${escaped(storm.shareName)}`;
}

/** As `warming watch` says it. */
export function alarmLine(storm: WarmingStorm): string {
  return `${String(storm.position).padStart(10)}  STORM on ${escaped(storm.shareName)}: ${count(storm.files)} tiered files accessed in the minute from ${isoTimestamp(storm.beginTime)}, ${count(storm.filesPerMinuteLimit)} are allowed. Nothing is called back until ${isoTimestamp(storm.endTime)}, or later if it goes on.`;
}
