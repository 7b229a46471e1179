/**
 * The examples in other languages, killed in the middle of a stream and started again, and while the server that they talk
 * to is stopped or killed: they go on from what the server has, and nothing is lost or done twice.
 */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { go } from "./clients/go.js";
import { type ProgramClient, type RunningProgram, startProgram } from "./clients/program.js";
import { python } from "./clients/python.js";
import { cursorsOf, expectOutcome, trailShare } from "./support/audited-trail.js";
import { type Balancer, startBalancer } from "./support/balancer.js";
import { frostline, jsonLines } from "./support/command.js";
import { type GeneratedTrail, generateTrail, writeTrail } from "./support/generated-trail.js";
import { withClient } from "./support/postgres.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { type SpawnedServer, spawnServer } from "./support/server.js";
import type { TestTenant } from "./support/tenant.js";
import { difference, findTree, type ListedFile, listedLines, settle, witnessLines } from "./support/witness.js";

/** Their names are long: some six chunks of 256 KiB. */
const files = 6000;
/** Two chunks and a part of the third. */
const scanBytes = 640 * 1024;
/** A part of the trail's events. */
const auditBytes = 64 * 1024;

let scratch: Scratch;
let trail: GeneratedTrail;
let truth: string[];

beforeAll(async () => {
  scratch = await scratchDirectory();
  trail = generateTrail(2000, 800);
  await writeTrail(scratch.path, trail.logs);
  await makeTree(root());
  settle(root());
  truth = witnessLines((await findTree(root())).files);
}, 60_000);
afterAll(async () => {
  await scratch?.remove();
});

const root = () => path.join(scratch.path, "root");

async function makeTree(at: string): Promise<void> {
  for (let n = 0; n < files; n++) {
    const directory = path.join(at, `d${n % 11}`, `e${n % 31}`);
    await fs.mkdir(directory, { recursive: true });
    await fs.writeFile(path.join(directory, `f${n}-${"x".repeat(200)}`), "x".repeat(n % 50));
  }
}

/** A client's way through a balancer to servers that come and go. */
class Road {
  readonly #start: (server: string, key: string, args: string[]) => RunningProgram;
  readonly balancer: Balancer;
  server: SpawnedServer;

  constructor(server: SpawnedServer, balancer: Balancer, start: (server: string, key: string, args: string[]) => RunningProgram) {
    this.server = server;
    this.balancer = balancer;
    this.#start = start;
  }

  start(tenant: TestTenant, ...args: string[]): RunningProgram {
    return this.#start(this.balancer.address, tenant.keys.agent, args);
  }

  /** Another server on the same database takes over. */
  async replace(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const next = await spawnServer({ database: this.server.database, tenant: this.server });
    const old = this.server;
    this.server = next;
    this.balancer.switchTo(next.address);
    this.balancer.passAtMost(undefined);
    if (signal === "SIGKILL") return old.kill();
    process.kill(old.pid, "SIGTERM");
    expect(await old.exited).toBe(0);
  }
}

async function withRoad(client: ProgramClient, work: (road: Road) => Promise<void>): Promise<void> {
  const directory = path.join(scratch.path, client.name);
  await fs.mkdir(directory);
  const command = client.build(directory);
  const first = await spawnServer();
  const balancer = await startBalancer(first.address);
  const road = new Road(first, balancer, (server, key, args) =>
    startProgram({ ...command, args: [...command.args, ...args] }, { server, key, scratch: directory }),
  );
  try {
    await work(road);
  } finally {
    await Promise.all([road.server.close(), balancer.close()]);
    await first.close();
  }
}

/** The chunks in the ledger, each with the transaction that wrote it. */
async function ledger({ database, tenantId }: SpawnedServer): Promise<string[]> {
  return withClient(database.superuserUrl, async (client) => {
    const { rows } = await client.query<{ line: string }>(
      "SELECT concat_ws(' ', scan_id, writer, chunk_no, xmin) AS line FROM ingest_chunk WHERE tenant_id = $1 ORDER BY scan_id, chunk_no",
      [tenantId],
    );
    return rows.map(({ line }) => line);
  });
}

/** Waits until more than that is there, and gives it. */
async function beyond<T>(count: number, read: () => Promise<T[]>): Promise<T[]> {
  let found: T[] = [];
  const length = async () => {
    found = await read();
    return found.length;
  };
  await expect.poll(length, { timeout: 30_000, interval: 50 }).toBeGreaterThan(count);
  return found;
}

async function kill({ child, result }: RunningProgram): Promise<void> {
  child.kill("SIGKILL");
  expect((await result).status).toBeNull();
}

async function scanThroughTrouble(road: Road): Promise<void> {
  const { balancer, server: tenant } = road;
  const scan = () => road.start(tenant, "scan", "--share", "tree", root());
  balancer.passAtMost(scanBytes);
  const first = scan();
  const before = await beyond(0, () => ledger(road.server));
  await kill(first);
  const second = scan();
  const later = await beyond(before.length, () => ledger(road.server));
  await road.replace("SIGTERM");
  const { status, stdout, stderr } = await second.result;
  expect(status, stderr).toBe(0);
  // One scan: what was committed was neither sent again nor begun anew.
  expect(JSON.parse(stdout)).toMatchObject({ status: "SCAN_STATUS_OK", counts: { files: String(files), added: String(files) } });
  const after = await ledger(road.server);
  expect(after.slice(0, later.length)).toEqual(later);
  expect(later.slice(0, before.length)).toEqual(before);
  const env = { FROSTLINE_SERVER: road.server.address, FROSTLINE_KEY: tenant.keys.reader };
  const listed = await frostline(["ls", "--share", "tree", "--json"], { env });
  expect(difference(listedLines(jsonLines<ListedFile>(listed.stdout)), truth)).toEqual({ found: files, unexpected: [], lacking: [] });
}

async function auditThroughTrouble(road: Road): Promise<void> {
  const share = await trailShare(road.server, trail);
  const audit = () => road.start(share.tenant, "audit", "--share", share.shareName, path.join(scratch.path, ".lucid_audit"));
  const cursors = () => cursorsOf({ ...share, server: road.server });
  road.balancer.passAtMost(auditBytes);
  const first = audit();
  const before = await beyond(0, cursors);
  await kill(first);
  const second = audit();
  await beyond(before.length, cursors);
  await road.replace("SIGKILL");
  const { status, stderr } = await second.result;
  // Some lines are refused.
  expect([0, 3], stderr).toContain(status);
  await expectOutcome({ ...share, server: road.server }, trail);
}

describe.each([python, go])("$name", (client) => {
  const missing = client.missing();
  const required = process.env.FROSTLINE_TEST_CLIENTS === "required";
  if (missing !== undefined && !required) console.warn(`\n!!! SKIPPED the ${client.name} client: it needs ${missing}.\n`);

  test.skipIf(missing !== undefined && !required)(
    "a scan and an audit trail go on after the client, and after the server",
    { timeout: 180_000 },
    async () => {
      if (missing !== undefined) throw new Error(`The ${client.name} client needs ${missing}.`);
      await withRoad(client, async (road) => {
        await scanThroughTrouble(road);
        await auditThroughTrouble(road);
      });
    },
  );
});
