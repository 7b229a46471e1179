/** The reference mover on real files, against a real server. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Moved, runMover } from "../examples/mover/run.js";
import { toChunks } from "../src/agent/chunker.js";
import { type Client, createClient } from "../src/agent/client.js";
import { runScan } from "../src/agent/push.js";
import { walk } from "../src/agent/walk.js";
import { ScanMode } from "../src/gen/frostline/v1/scan_pb.js";
import { TierService } from "../src/gen/frostline/v1/tier_pb.js";
import { violationsOf } from "./support/audited-share.js";
import { withClient } from "./support/postgres.js";
import { type Random, seededRandom } from "./support/random.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { planFiles } from "./support/tier.js";

let server: TestServer;
let scratch: Scratch;
let agent: Client;
let operator: Client;
beforeAll(async () => {
  server = await startTestServer();
  scratch = await scratchDirectory();
  agent = createClient({ server: server.address, key: server.keys.agent });
  operator = createClient({ server: server.address, key: server.keys.operator });
});
afterAll(async () => {
  agent?.close();
  operator?.close();
  await server?.close();
  await scratch?.remove();
});

const look = <Row extends Record<string, unknown>>(sql: string, values: unknown[] = []): Promise<Row[]> =>
  withClient(server.database.superuserUrl, async (client) => (await client.query(sql, values)).rows as Row[]);

/** A share of real files. */
class Share {
  readonly root: string;
  readonly target: string;
  shareId = 0n;
  /** Content, mode and mtime of each file, as they were made. */
  readonly made = new Map<string, string>();

  private constructor(readonly name: string) {
    this.root = path.join(scratch.path, name);
    this.target = path.join(scratch.path, `${name} cold`);
  }

  static async create(name: string, files: Map<string, Buffer>): Promise<Share> {
    const share = new Share(name);
    const [row] = await look<{ share_id: string }>(
      "INSERT INTO share (tenant_id, share_name, src_type, case_sensitive) VALUES ($1, $2, 'LucidLink', true) RETURNING share_id",
      [server.tenantId, name],
    );
    share.shareId = BigInt(row?.share_id ?? 0);
    fs.mkdirSync(share.target);
    for (const [file, content] of files) {
      fs.mkdirSync(path.dirname(share.at(file)), { recursive: true });
      fs.writeFileSync(share.at(file), content, { mode: 0o640 });
      fs.utimesSync(share.at(file), 1_600_000_000.25, 1_500_000_000.999999);
    }
    for (const file of files.keys()) share.made.set(file, describeFile(share.at(file)));
    return share;
  }

  at(file: string): string {
    return path.join(this.root, file);
  }

  async scan() {
    const options = { shareName: this.name, mode: ScanMode.FULL, uniqueFrn: false, exactListTimes: true, resume: "auto" as const };
    const { scan } = await runScan(agent, {
      ...options,
      source: (resumeAfter) => toChunks(walk(this.root, { resumeAfter }), { resumeAfter }),
    });
    const { added = 0n, changed = 0n, removed = 0n, moved = 0n } = scan.counts ?? {};
    return { added, changed, removed, moved };
  }

  plan(paths?: string[]): Promise<Map<string, bigint>> {
    return planFiles({ tenantId: server.tenantId, look: look as never }, this.shareId, paths, pathToFileURL(this.target).href);
  }

  move(): Promise<Moved> {
    return runMover({
      server: server.address,
      key: server.keys.agent,
      shareName: this.name,
      root: this.root,
      holder: "test",
      leaseSeconds: 60,
      workers: 4,
      log: (message) => this.log.push(message),
    });
  }

  readonly log: string[] = [];

  states() {
    return look<{ state: string; objects: string }>(
      "SELECT state, count(*)::text AS objects FROM tier_object WHERE share_id = $1 GROUP BY state ORDER BY state",
      [this.shareId],
    );
  }

  /** What the inventory shows: sizes and times of the files, whatever stands in their place. */
  inventory() {
    return look(
      `SELECT d.dir_path, c.name, c.size_bytes, c.mtime_unix FROM file_current c JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id
       WHERE c.share_id = $1 AND c.missing_since_scan_id IS NULL ORDER BY 1, 2`,
      [this.shareId],
    );
  }

  async rehydrateAll(): Promise<void> {
    const rows = await look<{ tier_id: string }>("SELECT tier_id FROM tier_object WHERE share_id = $1", [this.shareId]);
    await operator.unary(TierService.method.requestRehydration, { tierIds: rows.map(({ tier_id }) => BigInt(tier_id)), reason: "test" });
  }

  /** The claims of movers that were killed would come back in a minute. */
  async endLeases(): Promise<void> {
    await look("UPDATE tier_object SET lease_until_utc = now() - interval '1 second' WHERE share_id = $1 AND lease_until_utc > now()", [
      this.shareId,
    ]);
  }
}

const none = { stubbed: 0, rehydrated: 0, targetsDeleted: 0, skipped: 0, failed: 0, lost: 0 };
const unchanged = { added: 0n, changed: 0n, removed: 0n, moved: 0n };

function describeFile(file: string): string {
  const { mode, mtimeNs } = fs.statSync(file, { bigint: true });
  return `${(mode & 0o7777n).toString(8)} ${mtimeNs / 1000n} ${hash(fs.readFileSync(file))}`;
}

function hash(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Undefined for a file that is no stub. */
function stubAt(file: string): { objectUri: string; sha256: string } | undefined {
  const text = fs.readFileSync(file, "utf8");
  return text.startsWith('{"frostline_stub"') ? JSON.parse(text) : undefined;
}

function awkwardFiles(): Map<string, Buffer> {
  return new Map([
    ["/empty", Buffer.alloc(0)],
    ["/one byte", Buffer.from("x")],
    ["/films/2024/Ærø 東京 \\ 100%.mov", Buffer.alloc(3_000_000, "film")],
    ['/films/{"frostline_stub":1, but no stub', Buffer.from('{"frostline_stub":1,')],
    ["/films/exactly a block", Buffer.alloc(1024 * 1024, 7)],
    ["/a/b/c/d/deep", Buffer.alloc(100_000, 3)],
  ]);
}

function randomFiles(random: Random, count: number): Map<string, Buffer> {
  return new Map(
    Array.from({ length: count }, (_, at) => [
      `/d${at % 7}/f${at}`,
      Buffer.from(Array.from({ length: random.between(0, 40_000) }, () => random.between(0, 255))),
    ]),
  );
}

test("files go to the target and come back as they were; the inventory never changes meanwhile", async () => {
  const share = await Share.create("films", awkwardFiles());
  await share.scan();
  const known = await share.inventory();
  await share.plan();
  expect(await share.move()).toEqual({ ...none, stubbed: 6 });
  for (const file of share.made.keys()) {
    const stub = stubAt(share.at(file));
    expect(hash(fs.readFileSync(fileURLToPath(stub?.objectUri ?? "")))).toBe(share.made.get(file)?.split(" ")[2]);
  }
  expect(await share.scan()).toEqual(unchanged);
  expect(await share.inventory()).toEqual(known);
  expect(await share.move()).toEqual(none);

  await share.rehydrateAll();
  expect(await share.move()).toEqual({ ...none, rehydrated: 6 });
  for (const [file, before] of share.made) expect(describeFile(share.at(file)), file).toBe(before);
  // They have other numbers now, and are the same files.
  expect(await share.scan()).toEqual({ ...unchanged, changed: 6n });
  expect(await share.inventory()).toEqual(known);
  expect(await share.states()).toEqual([{ state: "REHYDRATED", objects: "6" }]);
  expect(fs.readdirSync(share.at(".frostline"))).toEqual([]);

  // The copies are there still, until somebody says that they may go.
  const rows = await look<{ tier_id: string; object_uri: string }>("SELECT tier_id, object_uri FROM tier_object WHERE share_id = $1", [
    share.shareId,
  ]);
  for (const { object_uri } of rows) expect(fs.existsSync(fileURLToPath(object_uri))).toBe(true);
  await operator.unary(TierService.method.requestTargetDeletion, { tierIds: rows.map(({ tier_id }) => BigInt(tier_id)), reason: "test" });
  expect(await share.move()).toEqual({ ...none, targetsDeleted: 6 });
  for (const { object_uri } of rows) expect(fs.existsSync(fileURLToPath(object_uri))).toBe(false);
});

test("a file that changed after it was planned is left alone, and a file that is gone is no file", async () => {
  const share = await Share.create(
    "changed",
    new Map([
      ["/edited", Buffer.from("before")],
      ["/gone", Buffer.from("gone")],
      ["/kept", Buffer.from("kept")],
    ]),
  );
  await share.scan();
  await share.plan();
  fs.writeFileSync(share.at("/edited"), "after");
  fs.rmSync(share.at("/gone"));
  expect(await share.move()).toEqual({ ...none, stubbed: 1, skipped: 2 });
  expect(fs.readFileSync(share.at("/edited"), "utf8")).toBe("after");
  expect(await share.states()).toEqual([
    { state: "DELETED", objects: "2" },
    { state: "STUBBED", objects: "1" },
  ]);
});

test("a damaged copy is never put in a stub's place", async () => {
  const share = await Share.create("damaged", new Map([["/file", Buffer.from("content")]]));
  await share.scan();
  await share.plan();
  await share.move();
  const stub = stubAt(share.at("/file"));
  fs.writeFileSync(fileURLToPath(stub?.objectUri ?? ""), "c0ntent");
  await share.rehydrateAll();
  expect(await share.move()).toEqual({ ...none, failed: 1 });
  expect(share.log.join()).toContain("damaged");
  expect(stubAt(share.at("/file"))).toEqual(stub);
  const rows = await look("SELECT state, attempts, retry_after_utc > now() AS later FROM tier_object WHERE share_id = $1", [share.shareId]);
  expect(rows).toEqual([{ state: "STUBBED", attempts: 1, later: true }]);
});

test("a stub that was written to is not overwritten by its content", async () => {
  const share = await Share.create("overwritten", new Map([["/file", Buffer.from("content")]]));
  await share.scan();
  await share.plan();
  await share.move();
  await share.rehydrateAll();
  fs.writeFileSync(share.at("/file"), "somebody's new work");
  expect(await share.move()).toEqual({ ...none, skipped: 1 });
  expect(fs.readFileSync(share.at("/file"), "utf8")).toBe("somebody's new work");
  expect(await share.scan()).toEqual({ ...unchanged, changed: 1n });
  expect(await share.states()).toEqual([{ state: "REHYDRATED", objects: "1" }]);
});

test("scans that run while movers work find nothing added, moved or gone, and show the files throughout", async () => {
  const share = await Share.create("watched", randomFiles(seededRandom(), 150));
  await share.scan();
  const known = await share.inventory();
  await share.plan();
  let scans = 0;
  const scanWhile = async (work: Promise<Moved>): Promise<Moved> => {
    let done = false;
    const ended = work.finally(() => {
      done = true;
    });
    while (!done) {
      const { changed, ...others } = await share.scan();
      expect(others).toEqual({ added: 0n, removed: 0n, moved: 0n });
      // A file that came back has another number.
      expect(changed).toBeLessThanOrEqual(150n);
      expect(await share.inventory()).toEqual(known);
      scans += 1;
    }
    return ended;
  };
  expect(await scanWhile(share.move())).toEqual({ ...none, stubbed: 150 });
  await share.rehydrateAll();
  expect(await scanWhile(share.move())).toEqual({ ...none, rehydrated: 150 });
  expect(scans).toBeGreaterThan(3);
  expect(share.log).toEqual([]);
  expect(await violationsOf(server.database)).toEqual([]);
});

test("movers that are killed at any moment lose nothing, and the next one goes on", async () => {
  const random = seededRandom();
  const share = await Share.create("killed", randomFiles(random, 60));
  await share.scan();
  const known = await share.inventory();
  await share.plan();
  for (let round = 0; round < 5; round += 1) {
    await killAfter(share, random.between(1, 60));
    for (const [file, before] of share.made) {
      const stub = stubAt(share.at(file));
      const content = stub ? hash(fs.readFileSync(fileURLToPath(stub.objectUri))) : hash(fs.readFileSync(share.at(file)));
      expect(content, file).toBe(before.split(" ")[2]);
    }
    // Whatever stands there, to the inventory it is the file.
    expect(await share.scan()).toEqual(unchanged);
    await share.endLeases();
  }
  await share.move();
  expect(await share.states()).toEqual([{ state: "STUBBED", objects: "60" }]);
  expect(await share.scan()).toEqual(unchanged);
  expect(await share.inventory()).toEqual(known);

  await share.rehydrateAll();
  for (let round = 0; round < 3; round += 1) {
    await killAfter(share, random.between(1, 60));
    await share.endLeases();
  }
  await share.move();
  for (const [file, before] of share.made) expect(describeFile(share.at(file)), file).toBe(before);
  expect(await share.states()).toEqual([{ state: "REHYDRATED", objects: "60" }]);
  expect(share.log).toEqual([]);
});

/** Runs the mover as a process, and kills it after so many changes in the directory that its work files are in. */
async function killAfter(share: Share, changes: number): Promise<void> {
  fs.mkdirSync(share.at(".frostline"), { recursive: true });
  const main = fileURLToPath(new URL("../examples/mover/main.ts", import.meta.url));
  const args = ["--share", share.name, "--root", share.root, "--server", server.address, "--lease-seconds", "600"];
  const child = spawn(process.execPath, ["--import", "tsx", main, ...args], {
    env: { ...process.env, FROSTLINE_KEY: server.keys.agent },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  let left = changes;
  const watcher = fs.watch(share.at(".frostline"), () => {
    left -= 1;
    if (left === 0) child.kill("SIGKILL");
  });
  const [status] = (await once(child, "close")) as [number | null];
  watcher.close();
  // Done before it was killed, or killed.
  expect([0, null], errors).toContain(status);
}
