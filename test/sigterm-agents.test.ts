/**
 * A server is stopped, or killed, while eight `frostline scan` and four `frostline audit --follow` are in the middle of their
 * streams (half as many when it is killed): all of them processes, half of them with a list of servers, half behind a load balancer.
 * They go on with another server.
 */
import type { ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { toJson } from "@bufbuild/protobuf";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { FileInfoSchema, FileService } from "../src/gen/frostline/v1/file_pb.js";
import type { AuditedShare } from "./support/audited-share.js";
import { cursorsAfter, cursorsOf, expectOutcome, trailShare } from "./support/audited-trail.js";
import { type Balancer, startBalancer } from "./support/balancer.js";
import { type CommandResult, frostline, jsonLines } from "./support/command.js";
import { type GeneratedTrail, generateTrail, writeTrail } from "./support/generated-trail.js";
import { watchHealth } from "./support/health.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { withClient } from "./support/postgres.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { type SpawnedServer, spawnServer } from "./support/server.js";
import { difference, findTree, type ListedFile, listedLines, settle, witnessLines } from "./support/witness.js";

interface Agents {
  scans: number;
  trails: number;
}

/** A kill is told from a stop by what the server still does, not by how many look on. */
const agentsAt: Record<"SIGTERM" | "SIGKILL", Agents> = { SIGTERM: { scans: 8, trails: 4 }, SIGKILL: { scans: 4, trails: 2 } };
const trees = 8;
/** Of one tree; their names are long, so that they are several chunks. */
const files = 2000;
/** So that the first chunk is a segment of its own. */
const filesPerSecond = 500;
/** Logs that are there before the agents start: two of each node. */
const logsBefore = 16;
/** The defaults of `drain` and `abort`, with room for a loaded machine. */
const exitMs = 15_000;

let scratch: Scratch;
let trail: GeneratedTrail;
const truth: string[][] = [];

beforeAll(async () => {
  trail = generateTrail(2000, 800);
  scratch = await scratchDirectory();
  for (let n = 0; n < trees; n++) makeTree(root(n), n);
  settle(scratch.path);
  for (let n = 0; n < trees; n++) truth.push(witnessLines((await findTree(root(n))).files));
}, 60_000);
afterAll(async () => {
  await scratch?.remove();
});

const root = (n: number) => path.join(scratch.path, `tree${n}`);

function makeTree(at: string, n: number): void {
  for (let made = 0; made < files; made++) {
    const directory = path.join(at, `d${made % 7}`, `e${made % 31}`);
    fs.mkdirSync(directory, { recursive: true });
    fs.writeFileSync(path.join(directory, `f${n}-${made}-${"x".repeat(220)}`), "x".repeat(made % 50));
  }
}

interface Agent {
  result: Promise<CommandResult>;
  interrupt(): void;
}

function startAgent(args: string[], server: string, key: string): Agent {
  let child: ChildProcess | undefined;
  const started = (process: ChildProcess) => {
    child = process;
  };
  const env = { FROSTLINE_SERVER: server, FROSTLINE_KEY: key };
  return { result: frostline([...args, "--json"], { env, started }), interrupt: () => void child?.kill("SIGINT") };
}

/** What is committed after a scan's first chunk waits for a lock. */
const holdLaterChunks = `
  CREATE FUNCTION public.hold_later_chunks() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.chunk_no > 0 THEN PERFORM pg_advisory_xact_lock_shared(20261125); END IF; RETURN NEW; END $$;
  CREATE TRIGGER hold_later_chunks BEFORE INSERT ON ingest_chunk FOR EACH ROW EXECUTE FUNCTION public.hold_later_chunks()`;

/** How many transactions wait for either lock. */
async function held(client: pg.Client): Promise<Agents> {
  const { rows } = await client.query<Agents>(
    `SELECT (count(DISTINCT pid) FILTER (WHERE locktype = 'advisory' AND objid = 20261125))::integer AS scans,
       (count(DISTINCT pid) FILTER (WHERE relation = 'lucid_audit_cursor'::regclass))::integer AS trails
     FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  );
  return rows[0] as Agents;
}

/** What of the scans is in the ledger, each chunk with the transaction that wrote it. */
async function ledger(server: SpawnedServer): Promise<string[]> {
  return withClient(server.database.superuserUrl, async (client) => {
    const { rows } = await client.query<{ line: string }>(
      "SELECT concat_ws(' ', scan_id, writer, chunk_no, xmin) AS line FROM ingest_chunk WHERE tenant_id = $1",
      [server.tenantId],
    );
    return rows.map(({ line }) => line);
  });
}

async function end(server: SpawnedServer, signal: keyof typeof agentsAt, release: () => Promise<unknown>): Promise<void> {
  if (signal === "SIGKILL") {
    await server.kill();
    await release();
    return;
  }
  const { notServing } = await watchHealth(server.address);
  const startMs = performance.now();
  process.kill(server.pid, "SIGTERM");
  await notServing;
  await release();
  expect(await server.exited).toBe(0);
  expect(performance.now() - startMs).toBeLessThan(exitMs);
}

/** Each share's files are those that another program finds in its tree. */
async function expectTrees(scans: number, servers: string, key: string): Promise<void> {
  const client = createClient({ server: servers, key });
  for (const [n, lines] of truth.slice(0, scans).entries()) {
    const page = await client.unary(FileService.method.listFiles, { shareName: `s${n}`, pageSize: 10_000 });
    const found = listedLines(page.files.map((file) => toJson(FileInfoSchema, file) as unknown as ListedFile));
    expect(difference(found, lines)).toEqual({ found: files, unexpected: [], lacking: [] });
  }
  client.close();
  // Of the list, the first is not there any more: a command finds the second by itself.
  const { status, stdout, stderr } = await startAgent(["ls", "--share", "s0"], servers, key).result;
  expect(status, stderr).toBe(0);
  expect(jsonLines(stdout)).toHaveLength(files);
}

/** Until each trail has been read up to its last whole line. */
async function untilRead(shares: AuditedShare[], wanted: Map<string, number>): Promise<void> {
  for (const share of shares) {
    const read = async () => new Map((await cursorsOf(share)).map(({ auditFilePath, position }) => [auditFilePath, Number(position)]));
    await expect.poll(read, { timeout: 60_000, interval: 200 }).toEqual(wanted);
  }
}

async function run(signal: keyof typeof agentsAt, first: SpawnedServer, second: SpawnedServer, balancer: Balancer): Promise<void> {
  const { scans, trails } = agentsAt[signal];
  const list = `${first.address},${second.address}`;
  const servers = (n: number) => (n % 2 === 0 ? list : balancer.address);
  const trailDirectory = path.join(scratch.path, signal);
  const before = { ...trail, logs: trail.logs.slice(0, logsBefore) };
  await writeTrail(trailDirectory, before.logs);
  const shares = await Promise.all(Array.from({ length: trails }, () => trailShare(second, trail)));
  const audits = shares.map(({ tenant, shareName }, n) =>
    startAgent(["audit", trailDirectory, "--share", shareName, "--follow"], servers(n), tenant.keys.agent),
  );
  await untilRead(shares, cursorsAfter(before));
  const agents = await withClient(first.database.superuserUrl, async (superuser) => {
    await superuser.query(holdLaterChunks);
    await superuser.query("BEGIN; SELECT pg_advisory_xact_lock(20261125); LOCK TABLE lucid_audit_cursor IN EXCLUSIVE MODE");
    await writeTrail(trailDirectory, trail.logs);
    const started = truth
      .slice(0, scans)
      .map((_, n) =>
        startAgent(["scan", root(n), "--share", `s${n}`, "--max-files-per-second", String(filesPerSecond)], servers(n), first.keys.agent),
      );
    await expect.poll(() => held(superuser), { timeout: 60_000, interval: 100 }).toEqual({ scans, trails });
    const committed = await ledger(first);
    expect(committed.length).toBeGreaterThan(0);
    await end(first, signal, () => {
      balancer.switchTo(second.address);
      return superuser.query("ROLLBACK");
    });
    return { started, committed };
  });
  for (const { result } of agents.started) {
    const { status, stdout, stderr } = await result;
    expect(status, stderr).toBe(0);
    expect(jsonLines(stdout)).toMatchObject([{ status: "SCAN_STATUS_OK", counts: { files: String(files), added: String(files) } }]);
  }
  await untilRead(shares, cursorsAfter(trail));
  for (const { result, interrupt } of audits) {
    interrupt();
    const { status, stderr } = await result;
    // Some lines are refused.
    expect(status, stderr).toBe(3);
  }
  const after = await ledger(second);
  expect(agents.committed.filter((line) => !after.includes(line))).toEqual([]);
  await expectTrees(scans, list, second.keys.reader);
  for (const share of shares) await expectOutcome(share, trail);
  const verified = await frostline(["verify"], { env: { DATABASE_URL: first.database.runtimeUrl } });
  expect(verified.status, verified.stdout).toBe(0);
  await expectNothingLeft(first.database, { served: true });
}

test.each(["SIGTERM", "SIGKILL"] as const)(
  "%s: agents go on with another server, and all is as it should be",
  { timeout: 180_000 },
  async (signal) => {
    // The streams of a share wait for one another, each with a connection.
    const env = { FROSTLINE_INGEST_POOL: "32" };
    const first = await spawnServer({ env });
    try {
      const second = await spawnServer({ database: first.database, tenant: first, env });
      const balancer = await startBalancer(first.address);
      await run(signal, first, second, balancer).finally(() => Promise.all([second.close(), balancer.close()]));
    } finally {
      await first.close();
    }
  },
);
