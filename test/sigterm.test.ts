/** SIGTERM in the middle of eight scans and four audit trails: the server ends in time, and a second one takes over. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { runScan } from "../src/agent/push.js";
import { type Chunk, ScanMode, ScanStatus } from "../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { liveFiles, violationsOf } from "./support/audited-share.js";
import { deliver, expectOutcome, trailShare } from "./support/audited-trail.js";
import { type GeneratedTrail, generateTrail, writeTrail } from "./support/generated-trail.js";
import { watchHealth } from "./support/health.js";
import { withClient } from "./support/postgres.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { type SpawnedServer, spawnServer } from "./support/server.js";
import { chunk, file, listing } from "./support/streams.js";

const scans = 8;
const trails = 4;
const chunksOfScan = 60;
const filesOfChunk = 100;
/** The defaults of `drain` and `abort`, with room for a loaded machine. */
const exitMs = 15_000;
const retry = { baseDelayMs: 50, maxDelayMs: 500, maxElapsedMs: 60_000 };

let scratch: Scratch;
let trail: GeneratedTrail;
let first: SpawnedServer;

beforeAll(async () => {
  trail = generateTrail(2000, 800);
  scratch = await scratchDirectory();
  await writeTrail(scratch.path, trail.logs);
  // The streams of one trail wait for one another, each with a connection.
  first = await spawnServer({ env: { FROSTLINE_INGEST_POOL: "16" } });
});
afterAll(async () => {
  await first?.close();
  await scratch?.remove();
});

const pathOf = (share: number, chunkNo: number, n: number) => `/s${share}/d${chunkNo}/f${n}`;

/** A scan that stops half way until `go`. */
function startScan(share: number, half: () => void, go: Promise<void>) {
  const client = createClient({ server: first.address, key: first.keys.agent });
  async function* source(resumeAfter: Uint8Array | undefined): AsyncGenerator<Chunk> {
    const from = resumeAfter === undefined ? 0 : Number(Buffer.from(resumeAfter).toString()) + 1;
    for (let n = from; n < chunksOfScan; n++) {
      if (n === chunksOfScan / 2) {
        half();
        await go;
      }
      const files = Array.from({ length: filesOfChunk }, (_, i) => file(`f${i}`));
      yield chunk(n, [listing(`/s${share}/d${n}`, files)], { resumeToken: Buffer.from(String(n)) });
    }
  }
  const options = {
    shareName: `s${share}`,
    mode: ScanMode.FULL,
    uniqueFrn: false,
    exactListTimes: true,
    source,
    resume: "auto",
    retry,
  } as const;
  return runScan(client, options).finally(client.close);
}

async function createShares(): Promise<void> {
  const client = createClient({ server: first.address, key: first.keys.operator });
  for (let n = 0; n < scans; n++)
    await client.unary(ShareService.method.createShare, { shareName: `s${n}`, sourceType: SourceType.LUCIDLINK });
  client.close();
}

test("it exits 0 in time, agents go on with a second server, and all is as it should be", { timeout: 120_000 }, async () => {
  await createShares();
  const shares = await Promise.all(Array.from({ length: trails }, () => trailShare(first, trail)));
  let goOn = () => {};
  const go = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const half: Promise<void>[] = [];
  const runs = Array.from({ length: scans }, (_, n) => {
    let reached = () => {};
    half.push(
      new Promise<void>((resolve) => {
        reached = resolve;
      }),
    );
    return startScan(n, reached, go);
  });
  await Promise.all(half);
  const deliveries = await withClient(first.database.superuserUrl, async (superuser) => {
    // The trails' transactions are held up, so that all of them are in the middle of one.
    await superuser.query("BEGIN; LOCK TABLE lucid_audit_cursor IN EXCLUSIVE MODE");
    const started = shares.map((share) => deliver(share, scratch.path, { retry }));
    const held = async () => {
      const { rows } = await superuser.query<{ n: number }>(
        "SELECT count(DISTINCT pid)::integer AS n FROM pg_locks WHERE relation = 'lucid_audit_cursor'::regclass AND NOT granted",
      );
      return rows[0]?.n;
    };
    await expect.poll(held, { timeout: 20_000 }).toBeGreaterThanOrEqual(trails);
    const { notServing } = await watchHealth(first.address);
    const startMs = performance.now();
    process.kill(first.pid, "SIGTERM");
    await notServing;
    goOn();
    await superuser.query("ROLLBACK");
    expect(await first.exited).toBe(0);
    expect(performance.now() - startMs).toBeLessThan(exitMs);
    return started;
  });
  const second = await spawnServer({ database: first.database, tenant: first, env: { FROSTLINE_LISTEN: first.address } });
  for (const { scan, stats } of await Promise.all(runs)) {
    expect(scan).toMatchObject({ status: ScanStatus.OK, counts: { files: BigInt(chunksOfScan * filesOfChunk), removed: 0n } });
    expect(stats.reconnects).toBeGreaterThan(0);
  }
  await Promise.all(deliveries);
  const expected = Array.from({ length: scans * chunksOfScan * filesOfChunk }, (_, n) =>
    pathOf(Math.floor(n / (chunksOfScan * filesOfChunk)), Math.floor(n / filesOfChunk) % chunksOfScan, n % filesOfChunk),
  );
  expect([...(await liveFiles({ server: first, tenant: first, shareName: "" })).keys()].sort()).toEqual(expected.sort());
  for (const share of shares) await expectOutcome(share, trail);
  expect(await violationsOf(first.database)).toEqual([]);
  await second.close();
});
