/** Frostline's own figures: a server process on the bench's PostgreSQL, and a replaying agent in another. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient } from "../src/agent/client.js";
import { createPools } from "../src/db/pool.js";
import { PushScanRequestSchema, ScanMode, ScanService } from "../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { bootstrap } from "../src/tenancy/tenants.js";
import { verify } from "../src/verify/verify.js";
import { type SyntheticOptions, syntheticChunks } from "./synthetic.js";

const packageRoot = fileURLToPath(new URL("..", import.meta.url));
const finishTimeoutMs = 600_000;

export interface BenchServer {
  address: string;
  key: string;
  pid: number;
  close(): Promise<void>;
}

export interface ScanFigures {
  /** Push and finish together. */
  seconds: number;
  walBytes: number;
}

/** `node bin/frostline.js serve` on the bench's database, with the platform tenant's admin key. */
export async function startBenchServer(runtimeUrl: string): Promise<BenchServer> {
  const pools = createPools(runtimeUrl, { queryPoolMax: 2, ingestPoolMax: 1, onIdleError: () => {} });
  const { adminKey } = await bootstrap(pools.query).finally(() => pools.end());
  const child = spawn(process.execPath, [path.join(packageRoot, "bin/frostline.js"), "serve"], {
    env: { ...process.env, DATABASE_URL: runtimeUrl, FROSTLINE_LISTEN: "127.0.0.1:0", FROSTLINE_LOG_LEVEL: "warn" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const address = await firstAddress(child);
  const close = async () => {
    child.kill("SIGTERM");
    await once(child, "exit");
  };
  return { address, key: adminKey, pid: child.pid as number, close };
}

async function firstAddress(child: ChildProcess): Promise<string> {
  let output = "";
  for await (const data of child.stdout ?? []) {
    output += data;
    const address = /127\.0\.0\.1:\d+/.exec(output)?.[0];
    if (address) return address;
  }
  throw new Error(`the server ended before it listened: ${output}`);
}

/** Encodes a share's chunks into a file. Returns how many. */
export async function encodeChunks(file: string, options: SyntheticOptions): Promise<number> {
  const handle = await fs.open(file, "w");
  let chunks = 0;
  for (const chunk of syntheticChunks(options)) {
    const message = toBinary(PushScanRequestSchema, create(PushScanRequestSchema, { message: { case: "chunk", value: chunk } }));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(message.length);
    await handle.writev([length, message]);
    chunks += 1;
  }
  await handle.close();
  return chunks;
}

export async function createBenchShare(server: BenchServer, shareName: string): Promise<void> {
  const client = createClient({ server: server.address, key: server.key });
  await client.unary(ShareService.method.createShare, { shareName, sourceType: SourceType.LUCIDLINK });
  client.close();
}

/** One whole scan by a replaying agent, from the first message to the finished scan. */
export async function replayScan(
  server: BenchServer,
  shareName: string,
  file: string,
  chunks: number,
  walPosition: () => Promise<bigint>,
): Promise<ScanFigures> {
  const client = createClient({ server: server.address, key: server.key });
  const { scan } = await client.unary(
    ScanService.method.startScan,
    { shareName, mode: ScanMode.FULL, exactListTimes: true },
    { timeoutMs: finishTimeoutMs },
  );
  if (!scan) throw new Error("StartScan returned no scan");
  const walBefore = await walPosition();
  const tsx = path.join(packageRoot, "node_modules/tsx/dist/cli.mjs");
  const replay = fileURLToPath(new URL("replay.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [tsx, replay, server.address, server.key, file, String(scan.scanId)]);
  const startMs = performance.now();
  await client.unary(
    ScanService.method.finishScan,
    { scanId: scan.scanId, chunks: { main: BigInt(chunks) } },
    { timeoutMs: finishTimeoutMs },
  );
  const seconds = Number(stdout) + (performance.now() - startMs) / 1000;
  client.close();
  return { seconds, walBytes: Number((await walPosition()) - walBefore) };
}

/** Throws unless every invariant of the stored data holds: a fast wrong answer is no figure. */
export async function assertSound(runtimeUrl: string): Promise<void> {
  const pools = createPools(runtimeUrl, { queryPoolMax: 2, ingestPoolMax: 1, onIdleError: () => {} });
  try {
    for await (const { invariant, rows } of verify(pools.query)) throw new Error(`${invariant} is broken: ${rows.join("; ")}`);
  } finally {
    await pools.end();
  }
}

/** Highest resident set and CPU seconds of a process so far; undefined where /proc does not tell. */
export async function processFigures(pid: number): Promise<{ peakRssBytes: number; cpuSeconds: number } | undefined> {
  try {
    const status = await fs.readFile(`/proc/${pid}/status`, "utf8");
    const stat = await fs.readFile(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const peakKiB = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]);
    // utime and stime, in ticks of 10 ms.
    return { peakRssBytes: peakKiB * 1024, cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100 };
  } catch {
    return undefined;
  }
}
