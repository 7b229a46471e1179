/** Random audit events against a plain model of the same rules: whatever the cut into batches, and with everything sent twice. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Counts } from "../src/ingest/audit/counts.js";
import { DirectoryCache } from "../src/ingest/audit/directory-cache.js";
import type { AuditAction, Batch, ReceivedEvent } from "../src/ingest/audit/events.js";
import { pushAudit } from "../src/ingest/audit/push-audit.js";
import { ShareTurns } from "../src/ingest/audit/share-turns.js";
import { receivedBatch } from "./support/audit-batch.js";
import { dirOf, Model } from "./support/audit-model.js";
import { type FakeTree, type IngestFixture, ingestFixture, listedAt, treeChunks } from "./support/ingest.js";
import { createTestDatabase, type TestDatabase } from "./support/postgres.js";
import { type Random, seededRandom } from "./support/random.js";
import { createTestTenant } from "./support/tenant.js";

let database: TestDatabase;
let fixture: IngestFixture;

beforeAll(async () => {
  database = await createTestDatabase();
  fixture = await ingestFixture(database, (await createTestTenant(database)).tenantId);
});
afterAll(async () => {
  await fixture.close();
  await database.drop();
});

const startSeconds = 1_780_000_000;

/** Events that mostly make sense, by nodes whose clocks are up to a minute apart. */
function randomEvent(random: Random, model: Model, offset: number, seconds: number): ReceivedEvent {
  const anyPath = () => `/${Array.from({ length: random.between(1, 3) }, () => `d${random.between(1, 4)}`).join("/")}`;
  const files = [...model.files.keys()];
  const dirs = [...model.dirs].filter((dir) => dir !== "/");
  const knownFile = () => (files.length > 0 && random.next() < 0.9 ? random.pick(files) : `${anyPath()}/f${random.between(1, 60)}`);
  const knownDir = () => (dirs.length > 0 && random.next() < 0.9 ? random.pick(dirs) : anyPath());
  const newFile = () => `${knownDir()}/f${random.between(1, 60)}`;
  const kinds: [number, AuditAction, () => [string, string]][] = [
    [0.45, "READ", () => [knownFile(), ""]],
    [0.5, "PREFETCH", () => [knownFile(), ""]],
    [0.65, "WRITE", () => [knownFile(), ""]],
    [0.75, "CREATE_FILE", () => [newFile(), ""]],
    [0.85, "MOVE", () => [knownFile(), random.next() < 0.3 ? knownFile() : newFile()]],
    [0.88, "MOVE", () => [knownDir(), random.next() < 0.5 ? anyPath() : `${knownDir()}/d${random.between(1, 4)}`]],
    [0.95, "DELETE_FILE", () => [knownFile(), ""]],
    [0.965, "DELETE_DIRECTORY", () => [knownDir(), ""]],
    [0.99, "CREATE_DIRECTORY", () => [anyPath(), ""]],
    [1, "OTHER", () => [knownFile(), ""]],
  ];
  const at = random.next();
  const [, action, paths] = kinds.find(([below]) => at < below) as (typeof kinds)[number];
  const [path, targetPath] = paths();
  const timeMicros = BigInt(startSeconds + seconds + random.between(-60, 60)) * 1_000_000n + BigInt(random.between(0, 999_999));
  return {
    eventId: "",
    offset: BigInt(offset),
    timeMicros,
    action,
    path,
    targetPath,
    user: "ann",
    host: "desk",
    node: "n1",
    actionName: action,
    refusedReason: "",
  };
}

function batchOf(events: ReceivedEvent[]): Batch {
  const first = events[0] as ReceivedEvent;
  const last = events.at(-1) as ReceivedEvent;
  return {
    auditFilePath: "n1/trail.log",
    headFingerprint: Buffer.from("head"),
    startOffset: first.offset,
    endOffset: last.offset + 1n,
    events,
    restarted: false,
  };
}

async function push(shareName: string, batches: Batch[]): Promise<Counts> {
  async function* messages() {
    yield { open: { shareName, volumeId: `volume of ${shareName}` } };
    for (const batch of batches) yield { batch: receivedBatch(batch) };
  }
  return pushAudit(
    { ...fixture.context, prefetchIsAccess: false, directories: new DirectoryCache(), turns: new ShareTurns() },
    fixture.tenantId,
    messages(),
  );
}

async function liveFiles(shareId: bigint): Promise<Map<string, { id: string; atime: number }>> {
  const rows = await fixture.look<{ path: string; id: string; atime: string }>(
    `SELECT CASE d.dir_path WHEN '/' THEN '/' ELSE d.dir_path || '/' END || c.name AS path, c.file_current_id AS id, c.atime_unix AS atime
     FROM file_current c JOIN dir d USING (tenant_id, dir_id) WHERE c.share_id = $1 AND c.missing_since_scan_id IS NULL`,
    [shareId],
  );
  return new Map(rows.map(({ path, id, atime }) => [path, { id, atime: Number(atime) }]));
}

async function liveDirectories(shareId: bigint): Promise<string[]> {
  const rows = await fixture.look<{ dir_path: string }>("SELECT dir_path FROM dir WHERE share_id = $1 AND missing_since_scan_id IS NULL", [
    shareId,
  ]);
  return rows.map((row) => row.dir_path).sort();
}

/** The model's share as a scan finds it. */
function treeOf(model: Model): FakeTree {
  const tree: FakeTree = new Map([...model.dirs].map((dir) => [dir, new Map()]));
  for (const [path, file] of model.files) {
    const found = {
      sizeBytes: BigInt(file.fileNo),
      mtimeUnix: 1n,
      atimeUnix: BigInt(startSeconds),
      ctimeUnix: 1n,
      frn: BigInt(file.fileNo),
    };
    tree.get(dirOf(path))?.set(path.slice(path.lastIndexOf("/") + 1), found);
  }
  return tree;
}

/** At a time in seconds from the start. */
async function scan(shareName: string, model: Model, random: Random, seconds: number): Promise<bigint> {
  const { scanId } = await fixture.start(shareName, { uniqueFrn: true });
  const chunks = listedAt(treeChunks(treeOf(model), random), startSeconds + seconds);
  await fixture.push(scanId, chunks);
  await fixture.finish(scanId, { main: BigInt(chunks.length) });
  model.scan(startSeconds + seconds);
  return scanId;
}

/** Pushes events in batches of a random cut, some of them twice; their counts must be the model's. */
async function pushAll(shareName: string, events: ReceivedEvent[], random: Random, expected: Counts): Promise<void> {
  const batches: Batch[] = [];
  for (let at = 0; at < events.length; ) {
    const size = random.between(1, 120);
    batches.push(batchOf(events.slice(at, at + size)));
    at += size;
  }
  const half = random.between(0, batches.length);
  const counts = await push(shareName, batches.slice(0, half));
  const again = await push(shareName, batches);
  for (const name of Object.keys(counts) as (keyof Counts)[]) counts[name] += again[name];
  const repeated = batches.slice(0, half).reduce((sum, batch) => sum + batch.events.length, 0);
  expect(counts).toEqual({ ...expected, duplicate: repeated });
}

test("random events give what the model gives, also when a scan has seen more than they tell of; scans change no identity, and their snapshots are the tree", {
  timeout: 120_000,
}, async () => {
  const random = seededRandom();
  for (let round = 0; round < 3; round += 1) {
    const shareName = `share ${round}`;
    const shareId = await fixture.createShare(shareName);
    await fixture.look("UPDATE share SET brake_percent = 100 WHERE share_id = $1", [shareId]);
    const model = new Model();
    for (let n = 1; n <= 120; n += 1) model.addFile(`/d${random.between(1, 4)}/d${random.between(1, 4)}/f${n}`, startSeconds);
    const before = await scan(shareName, model, random, 0);
    const old = [...model.files.keys()].sort();
    const rowOf = new Map<number, string>();
    /** Files, access times and identities are the model's. */
    const compare = async () => {
      const live = await liveFiles(shareId);
      expect([...live.keys()].sort()).toEqual([...model.files.keys()].sort());
      for (const [path, file] of model.files) {
        const row = live.get(path);
        expect(row?.atime, path).toBe(file.atime);
        if (rowOf.has(file.fileNo)) expect(row?.id, path).toBe(rowOf.get(file.fileNo));
        rowOf.set(file.fileNo, row?.id ?? "");
      }
      const waiting = await fixture.look<{ path: string; micros: string }>(
        "SELECT path, event_micros AS micros FROM audit_waiting WHERE share_id = $1",
        [shareId],
      );
      expect(new Map(waiting.map(({ path, micros }) => [path, Number(micros)]))).toEqual(model.waiting);
    };
    const tell = async (from: number, secondsOf: (n: number) => number) => {
      const told = { ...model.counts };
      const events = Array.from({ length: 1000 }, (_, n) => {
        const event = randomEvent(random, model, from + n, secondsOf(n));
        model.apply(event);
        return event;
      });
      const expected = Object.fromEntries(Object.entries(model.counts).map(([name, count]) => [name, count - told[name as keyof Counts]]));
      await pushAll(shareName, events, random, expected as Counts);
      await compare();
      expect(await liveDirectories(shareId)).toEqual([...model.dirs].sort());
    };
    await compare();
    await tell(0, (n) => 1000 + n);
    const between = await scan(shareName, model, random, 2300);
    await compare();
    const tree = [...model.files.keys()].sort();
    await tell(1000, () => random.between(1000, 3300));
    const after = await scan(shareName, model, random, 3600);
    await compare();

    const logged = await fixture.look<{ rows: number }>("SELECT count(*)::integer AS rows FROM audit_log WHERE share_id = $1", [shareId]);
    expect(logged).toEqual([{ rows: model.counts.applied + model.given }]);
    const snapshot = async (scanId: bigint) => {
      const rows = await fixture.look<{ path: string }>(
        `SELECT CASE d.dir_path WHEN '/' THEN '/' ELSE d.dir_path || '/' END || v.name AS path FROM scan_snapshot($1, $2, $3) v JOIN dir d USING (tenant_id, dir_id)`,
        [fixture.tenantId, shareId, scanId],
      );
      return rows.map(({ path }) => path).sort();
    };
    expect(await snapshot(before)).toEqual(old);
    expect(await snapshot(between)).toEqual(tree);
    expect(await snapshot(after)).toEqual([...model.files.keys()].sort());
    expect(await fixture.violations()).toEqual([]);
  }
});
