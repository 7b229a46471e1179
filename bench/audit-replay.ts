/**
 * An audit agent that only sends: replays batches that were encoded beforehand, for a time, on several streams.
 * Usage: audit-replay.ts SERVER KEY DIR SHARE SECONDS. See trailFile for what it reads.
 * Prints {"seconds", "events", "counts"}: from the first message until all that was sent is committed.
 */
import { once } from "node:events";
import * as fs from "node:fs";
import { create, fromBinary, toBinary, toJson } from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import {
  AuditCountsSchema,
  PushAuditRequestSchema,
  type PushAuditResponse,
  PushAuditResponseSchema,
} from "../src/gen/frostline/v1/audit_pb.js";
import { trailFile, trailStreams } from "./audit-events.js";

const [server, key, dir, shareName, secondsText] = process.argv.slice(2) as [string, string, string, string, string];

const client = new Client(server, credentials.createInsecure(), {
  "grpc.max_send_message_length": 4 << 20,
  "grpc.per_rpc_retry_buffer_size": 16 * 1024,
});
const metadata = new Metadata();
metadata.set("authorization", `Bearer ${key}`);
const open = Buffer.from(
  toBinary(PushAuditRequestSchema, create(PushAuditRequestSchema, { message: { case: "open", value: { shareName, volumeId: "bench" } } })),
);

const startMs = performance.now();
const end = startMs + Number(secondsText) * 1000;

/** Resolves with the counts of all that the stream sent. */
async function replay(file: string): Promise<PushAuditResponse> {
  let resolve: (response: PushAuditResponse) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<PushAuditResponse>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  const call = client.makeClientStreamRequest<Buffer, PushAuditResponse>(
    "/frostline.v1.AuditService/PushAudit",
    (message) => message,
    (response) => fromBinary(PushAuditResponseSchema, response),
    metadata,
    (error, response) => (error ? reject(error) : resolve(response as PushAuditResponse)),
  );
  call.write(open);
  const handle = fs.openSync(file, "r");
  const length = Buffer.alloc(4);
  while (performance.now() < end && fs.readSync(handle, length) === 4) {
    const message = Buffer.alloc(length.readUInt32LE());
    fs.readSync(handle, message);
    if (!call.write(message)) await Promise.race([once(call, "drain"), promise]);
  }
  fs.closeSync(handle);
  call.end();
  return promise;
}

const responses = await Promise.all(Array.from({ length: trailStreams }, (_, stream) => replay(trailFile(dir, stream))));
const seconds = (performance.now() - startMs) / 1000;
client.close();
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
