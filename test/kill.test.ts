/** Agent, server and PostgreSQL are killed in the middle of scans of a real tree. FROSTLINE_TEST_KILLS: how often each, default 2. */
import type { ChildProcess } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate } from "../src/db/migrate.js";
import { startEmbeddedCluster } from "./support/cluster.js";
import { frostline } from "./support/command.js";
import {
  committedSoFar,
  createTreeShare,
  expectResumed,
  expectWhole,
  filesPerSecond,
  makeTree,
  shareName,
  startAgent,
  truthOf,
} from "./support/interrupted-scan.js";
import { createEmptyDatabase, createTestDatabase, type TestDatabase, withClient } from "./support/postgres.js";
import { signalWithChildren } from "./support/processes.js";
import { fromSeed, type Random, seededRandom } from "./support/random.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { type SpawnedServer, spawnServer } from "./support/server.js";
import { createTestTenant } from "./support/tenant.js";
import { hasGnuFind } from "./support/witness.js";

const kills = Number(process.env.FROSTLINE_TEST_KILLS ?? 2);
const timeout = 60_000 + kills * 20_000;
/** More within a minute, and an embedded PostgreSQL stays down. */
const killsOfOneCluster = 4;

let scratch: Scratch;
let truth: string[];
/** A whole scan by the command line, its start included, and by an agent that runs already, in ms. */
let commandMs: number;
let agentMs: number;

beforeAll(async () => {
  if (!hasGnuFind()) return;
  scratch = await scratchDirectory();
  makeTree(scratch.path, fromSeed(1));
  truth = await truthOf(scratch.path);
  await withServer(async (server) => {
    const startMs = performance.now();
    const { status, stderr } = await scanCommand(server);
    expect(status, stderr).toBe(0);
    commandMs = performance.now() - startMs;
  });
  await withServer(async (server) => {
    const startMs = performance.now();
    await startAgent(server, scratch.path, fromSeed(1)).result;
    agentMs = performance.now() - startMs;
  });
});
afterAll(async () => {
  await scratch?.remove();
});

/** A server process with a database of its own and the share. */
async function withServer<T>(work: (server: SpawnedServer) => Promise<T>): Promise<T> {
  const server = await spawnServer();
  try {
    await createTreeShare(server);
    return await work(server);
  } finally {
    await server.close();
  }
}

function scanCommand(server: SpawnedServer, started: (child: ChildProcess) => void = () => {}) {
  const env = { FROSTLINE_SERVER: server.address, FROSTLINE_KEY: server.keys.agent };
  return frostline(["scan", scratch.path, "--share", shareName, "--max-files-per-second", String(filesPerSecond)], { env, started });
}

/** Plays rounds until `count` of them have struck a scan that was under way; a round tells whether it has. */
async function strike(count: number, round: () => Promise<boolean>): Promise<void> {
  for (let struck = 0, late = 0; struck < count; ) {
    if (await round()) struck++;
    else if (++late > 2 * count + 2) throw new Error(`${late} kills came when the scan was over, ${struck} in time`);
  }
}

/** Waits for the moment, a part of `wholeMs`; false when the scan is over by then. */
async function reached(agent: { ended: boolean }, random: Random, wholeMs: number): Promise<boolean> {
  await delay(random.next() * wholeMs);
  return !agent.ended;
}

describe.skipIf(!hasGnuFind())("a scan that is interrupted goes on where it was, and is the truth in the end", { timeout }, () => {
  test("SIGKILL of the agent", async () => {
    const random = seededRandom();
    await strike(kills, () => withServer((server) => killAgent(server, random)));
  });

  test("SIGKILL of the server", async () => {
    const random = seededRandom();
    await strike(kills, async () => {
      const database = await createTestDatabase();
      return killServer(database, random).finally(database.drop);
    });
  });

  test("SIGKILL of PostgreSQL", async () => {
    const random = seededRandom();
    for (let left = kills; left > 0; left -= killsOfOneCluster) {
      const { cluster, postgres, stop } = await startEmbeddedCluster(18);
      const round = async () => {
        const database = await createEmptyDatabase(cluster);
        await migrate(database.ownerUrl);
        const server = await spawnServer({ database });
        return killPostgres(server, postgres, random).finally(server.close);
      };
      await strike(Math.min(left, killsOfOneCluster), round).finally(stop);
    }
  });

  test("the end of one of two segments in flight", async () => {
    const random = seededRandom();
    for (let i = 0; i < kills; i++) await withServer((server) => endSegment(server, random));
  });
});

async function killAgent(server: SpawnedServer, random: Random): Promise<boolean> {
  let kill = () => {};
  const command = scanCommand(server, (child) => {
    kill = () => child.kill("SIGKILL");
  });
  await delay(random.next() * commandMs);
  kill();
  if ((await command).status !== null) return false;
  const before = await committedSoFar(server.database);
  const agent = startAgent(server, scratch.path, random);
  const { scan, stats } = await agent.result;
  // What the killed agent last asked for may have been the end of the scan.
  if (before !== undefined && !stats.resumed) return false;
  expectResumed(agent.walks, before, truth.length);
  await expectWhole(server, scan, before, truth);
  return true;
}

async function killServer(database: TestDatabase, random: Random): Promise<boolean> {
  const tenant = await createTestTenant(database);
  const first = await spawnServer({ database, tenant });
  await createTreeShare(first);
  const agent = startAgent(first, scratch.path, random);
  const inTime = await reached(agent, random, agentMs);
  await first.kill();
  if (!inTime) return false;
  const walksBefore = agent.walks.length;
  const before = await committedSoFar(database);
  const second = await spawnServer({ database, tenant, env: { FROSTLINE_LISTEN: first.address } });
  try {
    const { scan } = await agent.result;
    expectResumed(agent.walks.slice(walksBefore), before, truth.length);
    await expectWhole(second, scan, before, truth);
  } finally {
    await second.close();
  }
  return true;
}

async function killPostgres(server: SpawnedServer, postgres: { readonly pid: number }, random: Random): Promise<boolean> {
  await createTreeShare(server);
  const agent = startAgent(server, scratch.path, random);
  const inTime = await reached(agent, random, agentMs);
  if (!inTime) return false;
  const before = await committedSoFar(server.database);
  const walksBefore = agent.walks.length;
  signalWithChildren(postgres.pid, "SIGKILL");
  const { scan } = await agent.result;
  expectResumed(agent.walks.slice(walksBefore), before, truth.length);
  await expectWhole(server, scan, before, truth, true);
  return true;
}

/** Both segments are made to wait in the middle of their merges; then the connection of one of them is ended. */
async function endSegment(server: SpawnedServer, random: Random): Promise<void> {
  const { database } = server;
  const agent = startAgent(server, scratch.path, random, 2);
  const chunks = random.pick([0, 1]);
  await expect.poll(async () => (await committedSoFar(database))?.chunks.length ?? 0, { timeout: 20_000 }).toBeGreaterThanOrEqual(chunks);
  const [before, walksBefore] = await withClient(database.superuserUrl, async (locker) => {
    await locker.query(`BEGIN; LOCK TABLE ${random.pick(["file", "file_current"])} IN EXCLUSIVE MODE`);
    // Not the same connection: a transaction sees the activity of others as it was when it first looked.
    await withClient(database.superuserUrl, async (looker) => {
      await expect.poll(() => waitingSegments(looker), { timeout: 20_000, interval: 20 }).toHaveLength(2);
      await looker.query("SELECT pg_terminate_backend($1, 10000)", [random.pick(await waitingSegments(looker))]);
    });
    return [await committedSoFar(database), agent.walks.length] as const;
  });
  const { scan, stats } = await agent.result;
  expect(stats.reconnects).toBeGreaterThan(0);
  expectResumed(agent.walks.slice(walksBefore), before, truth.length);
  await expectWhole(server, scan, before, truth);
}

/** Process ids of the connections whose segment waits for the lock. */
async function waitingSegments(client: pg.Client): Promise<number[]> {
  const { rows } = await client.query<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'frostline-ingest' AND wait_event_type = 'Lock' ORDER BY backend_start`,
  );
  return rows.map(({ pid }) => pid);
}
