/**
 * An agent that only sends: replays a scan's chunks that were encoded beforehand, so that what is measured is the server.
 * Usage: replay.ts SERVER KEY FILE SCAN_ID. The file holds PushScanRequest messages without `open`, see wire.ts.
 * Prints the seconds from the first message to the response.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { PushScanRequestSchema, PushScanResponseSchema } from "../src/gen/frostline/v1/scan_pb.js";
import { connect, messagesOf, sendAll } from "./wire.js";

const [server, key, file, scanId] = process.argv.slice(2) as [string, string, string, string];

let chunks = 0n;
function* messages(): Generator<Uint8Array> {
  yield toBinary(
    PushScanRequestSchema,
    create(PushScanRequestSchema, { message: { case: "open", value: { scanId: BigInt(scanId), writer: "main" } } }),
  );
  for (const message of messagesOf(file)) {
    yield message;
    chunks += 1n;
  }
}

const sender = connect(server, key);
const startMs = performance.now();
const response = await sendAll(sender, "/frostline.v1.ScanService/PushScan", PushScanResponseSchema, messages());
if (response.nextChunkNo !== chunks) throw new Error(`${chunks} chunks sent, ${response.nextChunkNo} committed`);
console.log(((performance.now() - startMs) / 1000).toFixed(3));
sender.client.close();
