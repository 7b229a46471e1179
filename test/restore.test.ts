/** A database that goes back to an earlier time, while files, trails and movers have gone on: docs/backup.md. */
import * as fs from "node:fs";
import * as path from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { bringBack, findOrphans } from "../examples/mover/orphans.js";
import { runMover } from "../examples/mover/run.js";
import { toChunks } from "../src/agent/chunker.js";
import { createClient } from "../src/agent/client.js";
import { runScan, type ScanResult } from "../src/agent/push.js";
import { walk } from "../src/agent/walk.js";
import { packageRoot } from "../src/db/embedded.js";
import { migrate } from "../src/db/migrate.js";
import { type Chunk, ScanMode } from "../src/gen/frostline/v1/scan_pb.js";
import { TierService } from "../src/gen/frostline/v1/tier_pb.js";
import { type AuditedShare, createAuditedShare, liveFiles, loggedAccesses, violationsOf } from "./support/audited-share.js";
import { deliver } from "./support/audited-trail.js";
import { createBackupRole, dump, missingPostgresClients, restore } from "./support/backups.js";
import { startSeconds } from "./support/generated-trail.js";
import {
  copyTestDatabase,
  createEmptyDatabase,
  createTestDatabase,
  missingPostgres14,
  postgres14,
  type TestDatabase,
  withClient,
} from "./support/postgres.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";
import { planFiles } from "./support/tier.js";

/** What an operator runs on a database that was set back, as the page says it. */
const advanceNumbers = /```sql\n\s*(SELECT setval[^`]*)```/.exec(fs.readFileSync(path.join(packageRoot, "docs/backup.md"), "utf8"))?.[1];

const directories = 30;
const filesInDirectory = 30;
let scratch: Scratch;
let root: string;
let target: string;
beforeEach(async () => {
  scratch = await scratchDirectory();
  written = new Map();
  root = path.join(scratch.path, "share");
  target = path.join(scratch.path, "cold");
  for (let d = 0; d < directories; d++) {
    fs.mkdirSync(path.join(root, `d${d}`), { recursive: true });
    for (let f = 0; f < filesInDirectory; f++) write(`/d${d}/f${f}`, `${d} ${f} ${"x".repeat(f)}`);
  }
  fs.mkdirSync(target);
});
afterEach(() => scratch.remove());

/** What was written, by path. */
let written: Map<string, string>;

function write(file: string, content: string): void {
  written.set(file, content);
  fs.writeFileSync(path.join(root, file), content);
  fs.utimesSync(path.join(root, file), 1_600_000_000, 1_500_000_000);
}

/** What is there, by path. Reading moves access times, so only after the last scan. */
function truth(): Map<string, string> {
  const files = fs.readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files
    .map(({ parentPath, name }) => path.join(parentPath, name))
    .filter((file) => !/\/\.(frostline|lucid_audit)\//.test(file));
  return new Map(paths.map((file) => [file.slice(root.length), fs.readFileSync(file, "utf8")]));
}

/** Appends a read of each file to the trail. */
function access(files: string[], seconds: number): void {
  const log = path.join(root, ".lucid_audit/n/2026/09/a.log.active");
  fs.mkdirSync(path.dirname(log), { recursive: true });
  for (const file of files) {
    const operation = { action: "FileRead", entryPath: file };
    const line = { timestamp: (startSeconds + seconds) * 1_000_000, event: { filespaceUuid: "v", nodeId: "n" }, operation };
    fs.appendFileSync(log, `${JSON.stringify(line)}\n`);
  }
}

class Installation {
  private constructor(
    readonly server: TestServer,
    readonly share: AuditedShare,
  ) {}

  static async start(database: TestDatabase, tenant: TestTenant, share?: AuditedShare): Promise<Installation> {
    const server = await startTestServer({ database, tenant });
    return new Installation(server, share ? { ...share, server } : await createAuditedShare(server, tenant));
  }

  /** `breakOff`: the agent dies once something is committed. */
  async scan(breakOff = false): Promise<ScanResult> {
    const client = createClient({ server: this.server.address, key: this.server.keys.agent });
    const committed = () =>
      this.look<{ chunks: number }>(
        "SELECT count(*)::integer AS chunks FROM ingest_chunk c JOIN scan s USING (scan_id) WHERE s.status = 'RUNNING'",
      );
    async function* source(resumeAfter: Uint8Array | undefined): AsyncGenerator<Chunk> {
      let given = 0;
      for await (const chunk of toChunks(walk(root, { resumeAfter }), { resumeAfter, targetBytes: 2 * 1024 })) {
        yield chunk;
        given += 1;
        if (!breakOff || given < 5) continue;
        while ((await committed())[0]?.chunks === 0);
        throw new Error("the agent died");
      }
    }
    const options = {
      shareName: this.share.shareName,
      mode: ScanMode.FULL,
      uniqueFrn: true,
      exactListTimes: true,
      resume: "auto",
    } as const;
    return runScan(client, { ...options, source }).finally(client.close);
  }

  move() {
    const { address, keys } = this.server;
    const options = {
      shareName: this.share.shareName,
      root,
      holder: "test",
      leaseSeconds: 60,
      workers: 2,
      log: (line: string) => log.push(line),
    };
    const log: string[] = [];
    return runMover({ server: address, key: keys.agent, ...options }).then((moved) => ({ ...moved, log }));
  }

  async plan(files: string[]): Promise<void> {
    const [row] = await this.look<{ share_id: string }>("SELECT share_id FROM share");
    const fixture = { tenantId: this.server.tenantId, look: (sql: string, values?: unknown[]) => this.look(sql, values) };
    await planFiles(fixture as never, BigInt(row?.share_id ?? 0), files, pathToFileURL(target).href);
  }

  async rehydrateAll(): Promise<void> {
    const rows = await this.look<{ tier_id: string }>("SELECT tier_id FROM tier_object WHERE state = 'STUBBED'");
    const client = createClient({ server: this.server.address, key: this.server.keys.operator });
    const tierIds = rows.map(({ tier_id }) => BigInt(tier_id));
    await client.unary(TierService.method.requestRehydration, { tierIds, reason: "test" }).finally(client.close);
  }

  look<Row extends Record<string, unknown>>(sql: string, values: unknown[] = []): Promise<Row[]> {
    return withClient(this.server.database.superuserUrl, async (client) => (await client.query(sql, values)).rows as Row[]);
  }

  states() {
    return this.look("SELECT state, count(*)::integer AS objects FROM tier_object GROUP BY state ORDER BY state");
  }
}

const returned = "/d4/f1";
const early = ["/d0/f1", "/d0/f2", "/d0/f3"];
const late = ["/d1/f1", "/d1/f2"];
const firstReads = ["/d2/f1", "/d2/f2", "/d2/f3"];
const laterReads = ["/d2/f3", "/d3/f1"];

/** Until the backup: a whole scan, a part of another, a part of the trail, a file that is tiered, a plan that no mover has seen. */
async function workBefore(installation: Installation): Promise<{ scanId: bigint }> {
  await installation.scan();
  access(firstReads, 10);
  expect((await deliver(installation.share, root)).counts).toMatchObject({ applied: 3n });
  await installation.plan([returned]);
  expect(await installation.move()).toMatchObject({ stubbed: 1 });
  await installation.plan(early);
  await expect(installation.scan(true)).rejects.toThrow("the agent died");
  const [row] = await installation.look<{ scan_id: string }>("SELECT scan_id FROM scan WHERE status = 'RUNNING'");
  return { scanId: BigInt(row?.scan_id ?? 0) };
}

/** What the backup does not have, though it happened: to files, in the trail, and by movers. */
async function workAfter(installation: Installation): Promise<void> {
  await installation.scan();
  write("/d29/new", "made after the backup");
  fs.rmSync(path.join(root, "d28/f0"));
  access(laterReads, 20);
  expect((await deliver(installation.share, root)).counts).toMatchObject({ applied: 2n });
  await installation.plan(late);
  await installation.rehydrateAll();
  expect(await installation.move()).toMatchObject({ stubbed: 5, rehydrated: 1, failed: 0 });
  await installation.scan();
  expect(await violationsOf(installation.server.database)).toEqual([]);
}

/** As docs/backup.md says; then everything is as it is. */
async function recover(database: TestDatabase, before: { scanId: bigint }, origin: Installation): Promise<void> {
  await withClient(database.ownerUrl, (client) => client.query(advanceNumbers ?? "missing"));
  const restored = await Installation.start(database, origin.share.tenant, origin.share);
  try {
    expect(await violationsOf(database)).toEqual([]);
    const orphanOptions = {
      server: restored.server.address,
      key: restored.server.keys.reader,
      shareName: restored.share.shareName,
      root,
      signal: new AbortController().signal,
    };
    const orphans = await findOrphans(orphanOptions);
    expect(orphans.map(({ file }) => file.slice(root.length)).sort()).toEqual(late);
    for (const orphan of orphans) await bringBack(orphan, root, orphanOptions.signal);
    expect(await findOrphans(orphanOptions)).toEqual([]);
    expect(await restored.move()).toMatchObject({ stubbed: 3, failed: 0, skipped: 0, log: [] });
    expect(await restored.states()).toEqual([{ state: "STUBBED", objects: 4 }]);

    // A listing within two minutes of a report may be older than it; the backup is not as young as that.
    await restored.look("UPDATE tier_object SET acted_utc = acted_utc - interval '10 minutes' WHERE state = 'STUBBED'");
    const { scan, stats } = await restored.scan();
    expect([scan.scanId, stats.resumed]).toEqual([before.scanId, true]);
    expect((await deliver(restored.share, root)).counts).toMatchObject({ applied: 2n, duplicate: 0n });
    const next = await restored.scan();
    expect(next.scan.scanId).toBeGreaterThan(before.scanId + 1_000_000n);
    await expectTruth(restored);
  } finally {
    await restored.server.close();
  }
}

async function expectTruth(installation: Installation): Promise<void> {
  const stored = await liveFiles(installation.share);
  const sizes = new Map([...stored].map(([file, { sizeBytes }]) => [file, Number(sizeBytes)]));
  const actual = truth();
  for (const file of early) {
    expect(actual.get(file)).toMatch(/^\{"frostline_stub":1,/);
    actual.set(file, written.get(file) as string);
  }
  for (const file of [...late, returned]) expect(actual.get(file)).toBe(written.get(file));
  expect(sizes).toEqual(new Map([...actual].map(([file, content]) => [file, Buffer.byteLength(content)])));
  const atimes = ["/d2/f1", "/d2/f3", "/d3/f1"].map((file) => (stored.get(file)?.atime ?? 0) - startSeconds);
  expect(atimes).toEqual([10, 20, 20]);
  expect(await loggedAccesses(installation.share)).toMatchObject({ rows: 5, events: 5 });
  expect(await installation.states()).toEqual([
    { state: "REHYDRATED", objects: 1 },
    { state: "STUBBED", objects: 3 },
  ]);
  expect(await violationsOf(installation.server.database)).toEqual([]);
}

test("the page says how numbers are kept from being given twice", () => {
  expect(advanceNumbers).toMatch(/pg_sequences/);
});

test("set back to a copy: agents send again what is lacking, once; stubs are found again, and those that nobody knows are brought back", async () => {
  const database = await createTestDatabase();
  const tenant = await createTestTenant(database);
  const first = await Installation.start(database, tenant);
  const before = await workBefore(first).finally(() => first.server.close());
  const backup = await copyTestDatabase(database);
  const second = await Installation.start(database, tenant, first.share);
  await workAfter(second).finally(() => second.server.close());
  await recover(backup, before, second);
  await Promise.all([database.drop(), backup.drop()]);
});

describe.skipIf(missingPostgresClients() || missingPostgres14())("pg_dump", () => {
  test("of PostgreSQL 14 while a server and its agents are at work, restored into the run's: the same", async () => {
    const { cluster, stop } = await postgres14();
    const database = await createEmptyDatabase(cluster);
    await migrate(database.ownerUrl);
    const first = await Installation.start(database, await createTestTenant(database));
    let backup: TestDatabase | undefined;
    try {
      const before = await workBefore(first);
      const url = await createBackupRole(database);
      const file = await dump(url, scratch.path);
      await workAfter(first);
      await first.server.close();
      backup = await restore(file);
      await recover(backup, before, first);
    } finally {
      await first.server.close();
      await backup?.drop();
      await stop();
    }
  });
});
