/**
 * Reads a whole share: what a scan left of it, what changed between two scans, or its current files page by page.
 * Usage: read-agent.ts SERVER KEY snapshot SCAN_ID | diff FROM TO | list SHARE. Prints {"rows", "seconds"}.
 */
import { type Client, createClient } from "../src/agent/client.js";
import { FileService } from "../src/gen/frostline/v1/file_pb.js";

const [server, key, kind, ...args] = process.argv.slice(2) as [string, string, string, ...string[]];

const client = createClient({ server, key });
const startMs = performance.now();
const rows = await read(client);
console.log(JSON.stringify({ rows, seconds: (performance.now() - startMs) / 1000 }));
client.close();

async function read(from: Client): Promise<number> {
  let count = 0;
  if (kind === "snapshot") {
    for await (const { files } of from.serverStream(FileService.method.streamSnapshot, { scanId: BigInt(args[0] as string) }))
      count += files.length;
  } else if (kind === "diff") {
    const [fromScanId, toScanId] = args.map(BigInt) as [bigint, bigint];
    for await (const { differences } of from.serverStream(FileService.method.streamDiff, { fromScanId, toScanId }))
      count += differences.length;
  } else if (kind === "list") {
    for (let pageToken = ""; ; ) {
      const page = await from.unary(FileService.method.listFiles, { shareName: args[0] as string, pageSize: 10_000, pageToken });
      count += page.files.length;
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
  } else throw new Error(`${kind} is none of snapshot, diff and list`);
  return count;
}
