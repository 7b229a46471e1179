/**
 * An audit agent that only sends: replays batches that were encoded beforehand, for a time, on several streams.
 * Usage: audit-replay.ts SERVER KEY DIR SHARE SECONDS. See trailFile for what it reads.
 * Prints {"seconds", "events", "counts"}: from the first message until all that was sent is committed.
 */
import { create, toBinary, toJson } from "@bufbuild/protobuf";
import { AuditCountsSchema, PushAuditRequestSchema, PushAuditResponseSchema } from "../src/gen/frostline/v1/audit_pb.js";
import { trailFile, trailStreams } from "./audit-events.js";
import { connect, messagesOf, sendAll } from "./wire.js";

const [server, key, dir, shareName, secondsText] = process.argv.slice(2) as [string, string, string, string, string];

const sender = connect(server, key);
const open = toBinary(
  PushAuditRequestSchema,
  create(PushAuditRequestSchema, { message: { case: "open", value: { shareName, volumeId: "bench" } } }),
);

const startMs = performance.now();
const end = startMs + Number(secondsText) * 1000;

function* untilTheEnd(file: string): Generator<Uint8Array> {
  yield open;
  const messages = messagesOf(file);
  while (performance.now() < end) {
    const next = messages.next();
    if (next.done) return;
    yield next.value;
  }
  messages.return(undefined);
}

const replay = (stream: number) =>
  sendAll(sender, "/frostline.v1.AuditService/PushAudit", PushAuditResponseSchema, untilTheEnd(trailFile(dir, stream)));
const responses = await Promise.all(Array.from({ length: trailStreams }, (_, stream) => replay(stream)));
const seconds = (performance.now() - startMs) / 1000;
sender.client.close();
const each: Record<string, string> = {};
let events = 0;
for (const { counts } of responses) {
  if (!counts) throw new Error("the response has no counts");
  for (const [name, count] of Object.entries(toJson(AuditCountsSchema, counts, { alwaysEmitImplicit: true }) as Record<string, string>)) {
    each[name] = String(Number(each[name] ?? 0) + Number(count));
    events += Number(count);
  }
}
console.log(JSON.stringify({ seconds, events, counts: each }));
