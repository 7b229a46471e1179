/** Eight agents send more than fits in memory to a database that does not answer. FROSTLINE_TEST_STALL_SECONDS: for how long, default 12. */
import { setTimeout as delay } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { runScan, type ScanResult } from "../src/agent/push.js";
import type { EmbeddedPostgres } from "../src/db/embedded.js";
import { migrate } from "../src/db/migrate.js";
import { type Chunk, ChunkSchema, ScanMode, ScanStatus } from "../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { type RunningCluster, startEmbeddedCluster } from "./support/cluster.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { createEmptyDatabase, withClient } from "./support/postgres.js";
import { peakRssBytes, signalWithChildren } from "./support/processes.js";
import { type SpawnedServer, spawnServer } from "./support/server.js";

const stallSeconds = Number(process.env.FROSTLINE_TEST_STALL_SECONDS ?? 12);
const peakRssBytesAtMost = 256e6;
const streams = 8;
/** Of one stream: with their long names, far more than the server's share of memory for it and all that is on the way. */
const files = 60_000;
const filesPerDirectory = 500;
const directoriesPerChunk = 2;
const nameBytes = 200;

let cluster: RunningCluster & { postgres: EmbeddedPostgres };
let server: SpawnedServer;

beforeAll(async () => {
  if (process.platform !== "linux") return;
  cluster = await startEmbeddedCluster(18);
  const database = await createEmptyDatabase(cluster.cluster);
  await migrate(database.ownerUrl);
  server = await spawnServer({ database });
});
afterAll(async () => {
  await server?.close();
  if (server) await expectNothingLeft(server.database, { served: false });
  await cluster?.stop();
});

interface Stream {
  /** So far. */
  sent: number;
  result: Promise<ScanResult>;
}

describe.skipIf(process.platform !== "linux")("a database that stops answering", { timeout: 240_000 + stallSeconds * 1000 }, () => {
  test("holds the agents back, fills no memory, breaks no stream, and every scan is whole afterwards", async () => {
    const running = await Promise.all(Array.from({ length: streams }, (_, i) => startStream(`share ${i}`)));
    await expect.poll(() => running.every(({ sent }) => sent > files / 10), { timeout: 60_000 }).toBe(true);
    signalWithChildren(cluster.postgres.pid, "SIGSTOP");
    try {
      await delay(stallSeconds * 1000);
      const sent = running.map((stream) => stream.sent);
      for (const count of sent) expect(count).toBeLessThan(files);
      await delay(1000);
      expect(running.map((stream) => stream.sent)).toEqual(sent);
    } finally {
      signalWithChildren(cluster.postgres.pid, "SIGCONT");
    }
    const results = await Promise.all(running.map(({ result }) => result));
    for (const { scan, stats } of results) {
      expect(stats.reconnects, server.output()).toBe(0);
      expect(scan).toMatchObject({ status: ScanStatus.OK, counts: { files: BigInt(files), added: BigInt(files), refused: 0n } });
    }
    expect(await stored()).toEqual(Array(streams).fill({ files, bytes: (files * (files + 1)) / 2 }));
    const peak = peakRssBytes(server.pid);
    console.log(`${stallSeconds} s without the database: server's peak RSS ${(peak / 1e6).toFixed(0)} MB`);
    expect(peak).toBeLessThan(peakRssBytesAtMost);
  });
});

/** A scan of a new share by an agent in this process. */
async function startStream(shareName: string): Promise<Stream> {
  const client = createClient({ server: server.address, key: server.keys.operator });
  await client.unary(ShareService.method.createShare, { shareName, sourceType: SourceType.LUCIDLINK }).finally(client.close);
  const agent = createClient({ server: server.address, key: server.keys.agent });
  const stream: Stream = {
    sent: 0,
    result: runScan(agent, {
      shareName,
      mode: ScanMode.FULL,
      uniqueFrn: false,
      exactListTimes: true,
      resume: "auto",
      source,
      onProgress: (progress) => {
        stream.sent = progress.files;
      },
    }).finally(agent.close),
  };
  stream.result.catch(() => {});
  return stream;
}

/** Sizes are 1, 2, 3 and so on. The resume token is the number of the directory that comes next. */
async function* source(resumeAfter: Uint8Array | undefined): AsyncGenerator<Chunk> {
  const first = resumeAfter === undefined ? 0 : Number(Buffer.from(resumeAfter).toString());
  const directories = files / filesPerDirectory;
  for (let from = first; from < directories; from += directoriesPerChunk) {
    const next = Math.min(from + directoriesPerChunk, directories);
    const listings = Array.from({ length: next - from }, (_, i) => listing(from + i));
    yield create(ChunkSchema, { directories: listings, resumeToken: Buffer.from(String(next)) });
  }
}

function listing(directoryNo: number) {
  const records = Array.from({ length: filesPerDirectory }, (_, i) => {
    const fileNo = directoryNo * filesPerDirectory + i + 1;
    return { name: Buffer.from(String(fileNo).padStart(nameBytes, "0")), sizeBytes: BigInt(fileNo), mtimeUnix: 1_700_000_000n };
  });
  return { path: Buffer.from(`/d${directoryNo}`), complete: true, files: records };
}

/** Files of each share, and their sizes together. */
async function stored(): Promise<{ files: number; bytes: number }[]> {
  return withClient(server.database.superuserUrl, async (client) => {
    const { rows } = await client.query<{ files: number; bytes: number }>(
      `SELECT count(*)::integer AS files, sum(size_bytes)::double precision AS bytes FROM file_current
       WHERE missing_since_scan_id IS NULL GROUP BY share_id`,
    );
    return rows;
  });
}
