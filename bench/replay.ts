/**
 * An agent that only sends: replays messages that were encoded beforehand, so that what is measured is the server.
 * Usage: replay.ts SERVER KEY FILE SCAN_ID. The file holds length-prefixed PushScanRequest messages without `open`.
 * Prints the seconds from the first message to the response.
 */
import { once } from "node:events";
import * as fs from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { PushScanRequestSchema, type PushScanResponse, PushScanResponseSchema } from "../src/gen/frostline/v1/scan_pb.js";

const [server, key, file, scanId] = process.argv.slice(2) as [string, string, string, string];

const messages: Buffer[] = [];
const bytes = fs.readFileSync(file);
for (let at = 0; at < bytes.length; ) {
  const length = bytes.readUInt32LE(at);
  messages.push(bytes.subarray(at + 4, at + 4 + length));
  at += 4 + length;
}

const client = new Client(server, credentials.createInsecure(), {
  "grpc.max_send_message_length": 4 << 20,
  "grpc.per_rpc_retry_buffer_size": 16 * 1024,
});
const metadata = new Metadata();
metadata.set("authorization", `Bearer ${key}`);
const open = Buffer.from(
  toBinary(
    PushScanRequestSchema,
    create(PushScanRequestSchema, { message: { case: "open", value: { scanId: BigInt(scanId), writer: "main" } } }),
  ),
);

const startMs = performance.now();
let resolve: (response: PushScanResponse) => void = () => {};
let reject: (error: Error) => void = () => {};
const promise = new Promise<PushScanResponse>((onResolve, onReject) => {
  resolve = onResolve;
  reject = onReject;
});
const call = client.makeClientStreamRequest<Buffer, PushScanResponse>(
  "/frostline.v1.ScanService/PushScan",
  (message) => message,
  (response) => fromBinary(PushScanResponseSchema, response),
  metadata,
  (error, response) => (error ? reject(error) : resolve(response as PushScanResponse)),
);
for (const message of [open, ...messages]) if (!call.write(message)) await Promise.race([once(call, "drain"), promise]);
call.end();
const response = await promise;
if (response.nextChunkNo !== BigInt(messages.length)) throw new Error(`${messages.length} chunks sent, ${response.nextChunkNo} committed`);
console.log(((performance.now() - startMs) / 1000).toFixed(3));
client.close();
