/**
 * The real agent with a made-up share as its source, which is made while it is sent: nothing of it is held.
 * Usage: flat-agent.ts SERVER KEY SHARE FILES. Prints a line of JSON after each million files, and one at the end.
 */
import * as fs from "node:fs";
import { createClient } from "../src/agent/client.js";
import { runScan } from "../src/agent/push.js";
import { type Chunk, ScanMode, ScanStatus } from "../src/gen/frostline/v1/scan_pb.js";
import { syntheticChunks } from "./synthetic.js";

const [server, key, shareName, files] = process.argv.slice(2) as [string, string, string, string];
const reportEvery = 1_000_000;

async function* source(resumeAfter: Uint8Array | undefined): AsyncGenerator<Chunk> {
  if (resumeAfter !== undefined) throw new Error("the connection was lost: what is measured is one stream");
  yield* syntheticChunks({ files: Number(files) });
}

function print(sent: number): void {
  const peakKiB = Number(/VmHWM:\s+(\d+) kB/.exec(fs.readFileSync("/proc/self/status", "utf8"))?.[1]);
  console.log(JSON.stringify({ files: sent, seconds: performance.now() / 1000, peakRssBytes: peakKiB * 1024 }));
}

const client = createClient({ server, key });
let next = reportEvery;
const { scan } = await runScan(client, {
  shareName,
  mode: ScanMode.FULL,
  uniqueFrn: false,
  exactListTimes: true,
  resume: "restart",
  source,
  onProgress({ files: sent }) {
    if (sent < next) return;
    next += reportEvery;
    print(sent);
  },
});
if (scan.status !== ScanStatus.OK || scan.counts?.files !== BigInt(files)) throw new Error(`the scan ended as ${ScanStatus[scan.status]}`);
print(Number(files));
client.close();
