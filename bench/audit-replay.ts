/**
 * An audit agent that only sends: replays batches that were encoded beforehand, for a time.
 * Usage: audit-replay.ts SERVER KEY FILE SHARE SECONDS. The file holds length-prefixed PushAuditRequest messages without `open`.
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

const [server, key, file, shareName, secondsText] = process.argv.slice(2) as [string, string, string, string, string];

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
while (performance.now() - startMs < Number(secondsText) * 1000 && fs.readSync(handle, length) === 4) {
  const message = Buffer.alloc(length.readUInt32LE());
  fs.readSync(handle, message);
  if (!call.write(message)) await Promise.race([once(call, "drain"), promise]);
}
call.end();
const { counts } = await promise;
const seconds = (performance.now() - startMs) / 1000;
client.close();
if (!counts) throw new Error("the response has no counts");
const each = toJson(AuditCountsSchema, counts, { alwaysEmitImplicit: true }) as Record<string, string>;
const events = Object.values(each).reduce((sum, count) => sum + Number(count), 0);
console.log(JSON.stringify({ seconds, events, counts: each }));
