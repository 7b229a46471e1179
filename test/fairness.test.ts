/**
 * A tenant that floods leaves another's short calls answering. Server, flood and caller are processes of their own.
 * With FROSTLINE_TEST_FLOOD_SECONDS, on a machine that does nothing else, each of quiet and flood is measured for so long and the 99th
 * percentile counts. Without it, 3 seconds and the median: whatever else runs takes turns at the processors with the server.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import * as path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { packageRoot } from "../src/db/embedded.js";
import { FileService } from "../src/gen/frostline/v1/file_pb.js";
import { ScanMode, ScanService } from "../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../src/gen/frostline/v1/share_pb.js";
import type { FloodResult, FloodSettings } from "./support/flood.js";
import { type SpawnedServer, spawnServer } from "./support/server.js";
import { chunk, file, listing } from "./support/streams.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";

const asked = process.env.FROSTLINE_TEST_FLOOD_SECONDS;
const seconds = Number(asked ?? 3);
const countedQuantile = asked === undefined ? 0.5 : 0.99;
const scanStreams = 150;
const auditStreams = 50;
const floodedShares = 5;
/** Of the other tenant, at the same time. */
const callers = 4;
const callEveryMs = 10;
const slowestP99Ms = 100;
const windowsAtMost = 4;

let server: SpawnedServer;
let other: TestTenant;

beforeAll(async () => {
  // Its own log at trace level, as tests have it, would be part of the flood.
  server = await spawnServer({ env: { FROSTLINE_HTTP_LISTEN: "127.0.0.1:0", FROSTLINE_LOG_LEVEL: "info" } });
  other = await createTestTenant(server.database);
  await furnish();
});
afterAll(() => server?.close());

const connect = (key: string) => createClient({ server: server.address, key });

/** The other tenant's share, with a file. */
async function furnish(): Promise<void> {
  const admin = connect(other.keys.admin);
  await admin.unary(ShareService.method.createShare, { shareName: "small", sourceType: SourceType.NTFS });
  const { scan } = await admin.unary(ScanService.method.startScan, { shareName: "small", mode: ScanMode.FULL });
  const scanId = scan?.scanId as bigint;
  const stream = admin.clientStream(ScanService.method.pushScan);
  await stream.send({ message: { case: "open", value: { scanId, writer: "main" } } });
  await stream.send({ message: { case: "chunk", value: chunk(0, [listing("/", [file("film.mov", 7n)])]) } });
  await stream.finish();
  await admin.unary(ScanService.method.finishScan, { scanId, chunks: { main: 1n } });
  admin.close();
}

/** Times of the other tenant's calls, in ms. Every one must be answered. */
async function measure(forMs = seconds * 1000): Promise<number[]> {
  const times: number[] = [];
  const untilMs = performance.now() + forMs;
  const run = async (caller: number) => {
    const client = connect(other.keys.reader);
    const calls = [
      () => client.unary(ShareService.method.getShare, { shareName: "small" }),
      () => client.unary(FileService.method.getFile, { shareName: "small", path: "\\film.mov" }),
      () => client.unary(ShareService.method.listShares, {}),
    ];
    // Connecting is no part of a call, and half of the first one.
    await calls[0]?.();
    for (let n = caller; performance.now() < untilMs; n++) {
      const startMs = performance.now();
      await calls[n % calls.length]?.();
      times.push(performance.now() - startMs);
      await delay(callEveryMs);
    }
    client.close();
  };
  await Promise.all(Array.from({ length: callers }, (_, caller) => run(caller)));
  return times.sort((a, b) => a - b);
}

const quantile = (sorted: number[], q: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] as number;
const told = (times: number[]) =>
  `p50 ${quantile(times, 0.5).toFixed(1)} ms, p99 ${quantile(times, 0.99).toFixed(1)} ms, most ${quantile(times, 1).toFixed(1)} ms of ${times.length} calls`;

/** On top of the streams. */
type More = Pick<FloodSettings, "unaryCalls" | "wrongKeys">;

async function startFlood(named: string, more: More): Promise<ChildProcess> {
  const client = connect(server.keys.admin);
  const scans: FloodSettings["scans"] = [];
  for (let n = 0; n < floodedShares; n++) {
    const shareName = `${named} ${n}`;
    await client.unary(ShareService.method.createShare, { shareName, sourceType: SourceType.LUCIDLINK });
    const { scan } = await client.unary(ScanService.method.startScan, { shareName, mode: ScanMode.FULL });
    scans.push({ shareName, scanId: String(scan?.scanId) });
  }
  client.close();
  const settings: FloodSettings = {
    server: server.address,
    key: server.keys.admin,
    scans,
    scanStreams,
    auditStreams,
    ...more,
    filesOfChunk: 1000,
    eventsOfBatch: 1000,
  };
  const program = path.join(packageRoot, "test", "support", "flood.ts");
  return spawn(process.execPath, ["--import", "tsx", program, JSON.stringify(settings)], { stdio: ["ignore", "pipe", "inherit", "ipc"] });
}

/** Frostline's figures by `name{labels}`. */
async function figures(): Promise<Map<string, number>> {
  const url = /"httpPort":"([^"]+)"/.exec(server.output())?.[1];
  const lines = (await (await fetch(`${url}/metrics`)).text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]));
}

const openPushes = (now: Map<string, number>) =>
  (now.get('frostline_open_calls{method="frostline.v1.ScanService/PushScan"}') ?? 0) +
  (now.get('frostline_open_calls{method="frostline.v1.AuditService/PushAudit"}') ?? 0);

async function stopFlood(flood: ChildProcess): Promise<FloodResult> {
  let text = "";
  flood.stdout?.on("data", (data: Buffer) => (text += data));
  const closed = once(flood, "close");
  flood.kill("SIGTERM");
  await closed;
  return JSON.parse(text) as FloodResult;
}

async function expectOthersAnswered(named: string, more: More): Promise<void> {
  await measure(1000);
  const quiet = await measure();
  const flood = await startFlood(named, more);
  try {
    await expect
      .poll(async () => openPushes(await figures()), { timeout: 60_000, interval: 200 })
      .toBeGreaterThan(0.9 * (scanStreams + auditStreams));
    const before = await figures();
    const atMostMs = Math.max(slowestP99Ms, 3 * quantile(quiet, 0.99));
    const windows: number[][] = [];
    // What else the machine is at only ever adds to the times, so one window that holds will do.
    do windows.push(await measure());
    while (windows.length < windowsAtMost && quantile(windows.at(-1) as number[], countedQuantile) >= atMostMs);
    const now = await figures();
    // It steps back, and it goes on: what it sends is stored.
    const stored = (at: Map<string, number>) =>
      (at.get("frostline_segment_files_count") ?? 0) + (at.get("frostline_audit_transaction_seconds_count") ?? 0);
    await expect.poll(async () => stored(await figures()), { timeout: 60_000, interval: 200 }).toBeGreaterThan(stored(now));
    const result = await stopFlood(flood);
    console.log(`quiet: ${told(quiet)}\nflooded: ${windows.map(told).join("; ")}\nthe flood: ${JSON.stringify(result)}`);
    const since = (name: string) => (now.get(name) ?? 0) - (before.get(name) ?? 0);
    console.log(`event loop p99 ${((now.get("nodejs_eventloop_lag_p99_seconds") ?? 0) * 1000).toFixed(0)} ms`);
    // It was a flood all the while, and guesses were refused unlooked at.
    expect(openPushes(now)).toBeGreaterThan(0.9 * (scanStreams + auditStreams));
    if (more.wrongKeys > 0)
      expect(since('frostline_limited_calls_total{reason="TOO_MANY_FAILED_AUTHENTICATIONS",of="address"}')).toBeGreaterThan(0);
    expect(Math.min(...windows.map((times) => quantile(times, countedQuantile)))).toBeLessThan(atMostMs);
  } finally {
    flood.kill("SIGKILL");
  }
}

const timeout = 120_000 + 8000 * seconds;

test(
  "200 streams leave half of another tenant's calls within 100 ms, or three times of its quiet p99; in the long form all but 1 %",
  {
    timeout,
  },
  () => expectOthersAnswered("streams", { unaryCalls: 0, wrongKeys: 0 }),
);

test("200 streams, loops of reads and guessed keys do as well", { timeout }, () =>
  expectOthersAnswered("all", { unaryCalls: 4, wrongKeys: 20 }),
);
