/** Scans whose chunks were encoded beforehand, sent by an agent's process. */
import { execFile } from "node:child_process";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { promisify } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient } from "../src/agent/client.js";
import { PushScanRequestSchema, ScanMode, ScanService } from "../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../src/gen/frostline/v1/share_pb.js";
import type { BenchServer } from "./bed.js";
import { type Profiling, profiling } from "./profiles.js";
import { type SyntheticOptions, syntheticChunks } from "./synthetic.js";
import { framed } from "./wire.js";

const finishTimeoutMs = 900_000;

/** Runs a module of the bench as a process of its own; resolves with what it prints. */
export async function runModule({ args: nodeArgs, env }: Profiling, file: string, args: string[]): Promise<string> {
  const all = [...nodeArgs, "--import", "tsx", path.join(import.meta.dirname, file), ...args];
  const { stdout } = await promisify(execFile)(process.execPath, all, { env: { ...process.env, ...env } });
  return stdout;
}

/** Encodes a share's chunks into a file. Returns how many. */
export async function encodeChunks(file: string, options: SyntheticOptions): Promise<number> {
  const handle = await fs.open(file, "w");
  let chunks = 0;
  for (const chunk of syntheticChunks(options)) {
    const message = toBinary(PushScanRequestSchema, create(PushScanRequestSchema, { message: { case: "chunk", value: chunk } }));
    await handle.writev(framed(message));
    chunks += 1;
  }
  await handle.close();
  return chunks;
}

export async function createBenchShare(server: BenchServer, shareName: string): Promise<void> {
  const client = createClient({ server: server.address, key: server.key });
  await client.unary(ShareService.method.createShare, { shareName, sourceType: SourceType.LUCIDLINK }).finally(() => client.close());
}

/** One whole scan, from the first message to the finished scan. */
export async function replayScan(
  server: BenchServer,
  shareName: string,
  file: string,
  chunks: number,
): Promise<{ scanId: bigint; seconds: number }> {
  const client = createClient({ server: server.address, key: server.key });
  try {
    const started = await client.unary(
      ScanService.method.startScan,
      { shareName, mode: ScanMode.FULL, exactListTimes: true },
      { timeoutMs: finishTimeoutMs },
    );
    if (!started.scan) throw new Error("StartScan returned no scan");
    const { scanId } = started.scan;
    const pushSeconds = Number(
      await runModule(profiling(undefined, "replay"), "replay.ts", [server.address, server.key, file, String(scanId)]),
    );
    const startMs = performance.now();
    await client.unary(ScanService.method.finishScan, { scanId, chunks: { main: BigInt(chunks) } }, { timeoutMs: finishTimeoutMs });
    return { scanId, seconds: pushSeconds + (performance.now() - startMs) / 1000 };
  } finally {
    client.close();
  }
}
