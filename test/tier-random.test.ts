/**
 * Movers, users, scans, plans, operators and background jobs at once on one share, in random order, with movers that die at every step.
 * When all have gone home, everything is as it is. FROSTLINE_TEST_ROUNDS: how long, default 4.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { inTenant } from "../src/db/tenant.js";
import { type Claim, claimTierObjects } from "../src/tier/claim.js";
import type { Outcome } from "../src/tier/judge.js";
import { reportTierObjects } from "../src/tier/report.js";
import { asPlanned } from "../src/tier/still-matches.js";
import { plannable, plannedAnew, type WantedAction } from "../src/tier/transitions.js";
import { requestRehydration } from "../src/tier/want.js";
import { chunkOf, type FakeFile, fileRecord, type IngestFixture, ingestFixture, listing } from "./support/ingest.js";
import { runMaintenance } from "./support/maintenance.js";
import { createTestDatabase, type TestDatabase } from "./support/postgres.js";
import { type Random, seededRandom } from "./support/random.js";
import { createTestTenant } from "./support/tenant.js";
import { planFiles, stampOf } from "./support/tier.js";

const rounds = Number(process.env.FROSTLINE_TEST_ROUNDS ?? 4);
const stubBytes = 120n;

let database: TestDatabase;
let fixture: IngestFixture;
beforeAll(async () => {
  database = await createTestDatabase();
  fixture = await ingestFixture(database, (await createTestTenant(database)).tenantId);
});
afterAll(async () => {
  await fixture?.close();
  await database?.drop();
});

/** What is on the disk under a path: a file, or the stub that holds a file's content elsewhere. */
interface Entry {
  disk: FakeFile;
  stubOf?: { tierId: bigint; content: FakeFile };
}

/** The killed mover: nothing of what follows happens. */
class Killed extends Error {}

class World {
  readonly files = new Map<string, Entry>();
  readonly random: Random;
  shareId = 0n;
  #no = 1;

  constructor(random: Random) {
    this.random = random;
    for (let at = 0; at < 150; at += 1) this.files.set(`/d${at % 10}/f${at}`, { disk: this.newFile() });
  }

  /** Every file has a size, a time and a number of its own. */
  newFile(): FakeFile {
    const no = BigInt(this.#no++);
    const time = 1_500_000_000n + no;
    return { sizeBytes: 1000n + no, mtimeUnix: time, atimeUnix: time, ctimeUnix: time, frn: no };
  }

  aPath(): string {
    return this.random.pick([...this.files.keys()]);
  }

  /** One thing that a person does. */
  disturb(): void {
    const path = this.aPath();
    const entry = this.files.get(path) as Entry;
    const fresh = this.newFile();
    const what = this.random.between(0, 3);
    if (what === 0) this.files.set(path, { disk: { ...fresh, frn: entry.disk.frn } });
    else if (what === 1) this.files.set(path, { disk: fresh });
    else if (what === 2 && this.files.size > 100) this.files.delete(path);
    else {
      this.files.delete(path);
      this.files.set(`/d${this.random.between(0, 9)}/r${fresh.frn}`, entry);
    }
  }

  listings() {
    const byDirectory = new Map<string, ReturnType<typeof fileRecord>[]>([["/", []]]);
    for (let no = 0; no < 10; no += 1) byDirectory.set(`/d${no}`, []);
    for (const [path, { disk }] of this.files) {
      const at = path.lastIndexOf("/");
      byDirectory.get(path.slice(0, at))?.push(fileRecord(path.slice(at + 1), disk));
    }
    return Array.from(byDirectory, ([path, records]) => listing(path, records));
  }

  async scan(): Promise<void> {
    const { scanId } = await fixture.start("busy");
    // Each directory in a segment of its own time: what is listed may be old when it arrives.
    const listings = this.random.shuffle(this.listings());
    await fixture.push(
      scanId,
      listings.map((directory, at) => chunkOf(at, [directory])),
    );
    await fixture.finish(scanId, { main: BigInt(listings.length) });
  }

  /** Works off what can be claimed. `deadly`: how often, at each step, the mover dies. */
  async move(action: WantedAction, deadly: number): Promise<number> {
    const claims = await claimTierObjects(
      fixture.context.pool,
      fixture.tenantId,
      { action, limit: this.random.between(1, 20), leaseSeconds: 600, holder: "mover" },
      asPlanned,
    );
    for (const claim of claims) {
      try {
        await (action === "STUB" ? this.#stub(claim, deadly) : this.#rehydrate(claim, deadly));
      } catch (error) {
        if (!(error instanceof Killed)) throw error;
      }
    }
    return claims.length;
  }

  async #stub(claim: Claim, deadly: number): Promise<void> {
    const path = `${claim.dir_path === "/" ? "" : claim.dir_path}/${claim.name}`;
    const copied = this.files.get(path);
    const planned = { sizeBytes: claim.planned_size_bytes as bigint, mtimeUnix: claim.planned_mtime_unix as bigint, frn: null };
    const objectUri = `file:///cold/${claim.tier_id}`;
    if (!copied && claim.stub_size_bytes !== null) return this.#report(claim, { kind: "failed", reason: "gone?", fileUntouched: false });
    if (copied?.stubOf?.tierId === claim.tier_id)
      return this.#report(claim, { kind: "stubbed", seen: planned, stub: stampOf(copied.disk), objectUri });
    if (copied?.disk.sizeBytes !== planned.sizeBytes || copied.disk.mtimeUnix !== planned.mtimeUnix || claim.settle_only)
      return this.#report(claim, { kind: "skipped", reason: "changed" });
    this.#mayDie(deadly);
    const disk = { ...this.newFile(), sizeBytes: stubBytes, mtimeUnix: planned.mtimeUnix };
    await this.#report(claim, { kind: "progress", leaseSeconds: 600, stub: stampOf(disk), objectUri });
    this.#mayDie(deadly);
    if (this.files.get(path) !== copied) return this.#report(claim, { kind: "skipped", reason: "changed meanwhile" });
    this.files.set(path, { disk, stubOf: { tierId: claim.tier_id, content: copied.disk } });
    this.#mayDie(deadly);
    await this.#report(claim, { kind: "stubbed", seen: planned, stub: stampOf(disk), objectUri });
  }

  async #rehydrate(claim: Claim, deadly: number): Promise<void> {
    const path = `${claim.dir_path === "/" ? "" : claim.dir_path}/${claim.name}`;
    const entry = this.files.get(path);
    if (!entry) return this.#report(claim, { kind: "failed", reason: "gone?", fileUntouched: false });
    if (entry.stubOf?.tierId !== claim.tier_id) {
      const restored = entry.disk.sizeBytes === claim.planned_size_bytes && entry.disk.mtimeUnix === claim.planned_mtime_unix;
      return this.#report(claim, restored ? { kind: "rehydrated", file: stampOf(entry.disk) } : { kind: "skipped", reason: "no stub" });
    }
    this.#mayDie(deadly);
    const disk = { ...entry.stubOf.content, frn: this.newFile().frn };
    this.files.set(path, { disk });
    this.#mayDie(deadly);
    await this.#report(claim, { kind: "rehydrated", file: stampOf(disk) });
  }

  #mayDie(deadly: number): void {
    if (this.random.next() < deadly) throw new Killed();
  }

  /** A claim that was lost meanwhile is no fault. */
  async #report({ tier_id, lease_token }: Claim, outcome: Outcome): Promise<void> {
    const [result] = await reportTierObjects(fixture.context.pool, fixture.tenantId, [
      { tierId: tier_id, leaseToken: lease_token, outcome },
    ]);
    if (!result || result.verdict.accepted) return;
    if (result.verdict.code === "LEASE_LOST") throw new Killed();
    throw new Error(`refused: ${result.verdict.message}`);
  }

  /** New files, and files that may be planned again. */
  async plan(): Promise<void> {
    await inTenant(fixture.context.pool, fixture.tenantId, (client) =>
      client.query(
        `WITH anew AS (
           SELECT t.tier_id, c.size_bytes, c.mtime_unix, c.frn FROM tier_object t JOIN file_current c USING (tenant_id, file_current_id)
           WHERE t.tenant_id = $1 AND c.missing_since_scan_id IS NULL AND ${plannable("t")} AND t.tier_id % 3 = $2
         ), logged AS (
           INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, old_state, new_state, source)
           SELECT $1, 'tier', t.share_id, t.file_current_id, t.state, 'PLANNED', 'plan' FROM tier_object t JOIN anew a USING (tier_id) WHERE t.tenant_id = $1
         )
         UPDATE tier_object t SET ${plannedAnew}, planned_size_bytes = a.size_bytes, planned_mtime_unix = a.mtime_unix, planned_frn = a.frn
         FROM anew a WHERE t.tenant_id = $1 AND t.tier_id = a.tier_id AND ${plannable("t")}`,
        [fixture.tenantId, this.random.between(0, 2)],
      ),
    );
  }

  async wantBack(): Promise<void> {
    const rows = await fixture.look<{ tier_id: string }>("SELECT tier_id FROM tier_object WHERE state = 'STUBBED' AND random() < 0.3");
    await inTenant(fixture.context.pool, fixture.tenantId, (client) =>
      requestRehydration(
        client,
        fixture.tenantId,
        rows.map(({ tier_id }) => BigInt(tier_id)),
        "test",
      ),
    );
  }
}

function maintenance() {
  return runMaintenance({ pool: fixture.context.pool, auditKeepDays: 7, signal: new AbortController().signal });
}

/** As if so much had happened hours ago: leases are over, listings surely newer than reports, retries due. */
async function hoursPass(): Promise<void> {
  await fixture.look(
    `UPDATE tier_object SET acted_utc = acted_utc - interval '3 hours', lease_until_utc = lease_until_utc - interval '3 hours',
       retry_after_utc = retry_after_utc - interval '12 hours'`,
  );
}

test("movers that die, users, scans, plans and background jobs all at once: in the end all is as it is", {
  timeout: 60_000 + rounds * 30_000,
}, async () => {
  const random = seededRandom();
  const world = new World(random);
  world.shareId = await fixture.createShare("busy");
  await fixture.look("UPDATE share SET brake_percent = 100");
  await world.scan();
  await planFiles(fixture, world.shareId);

  for (let round = 0; round < rounds; round += 1) {
    const busy = async (times: number, work: () => Promise<unknown>) => {
      for (let at = 0; at < times; at += 1) await work();
    };
    await Promise.all([
      busy(2, () => world.scan()),
      busy(6, () => world.move("STUB", 0.1)),
      busy(6, () => world.move("STUB", 0.1)),
      busy(5, () => world.move("REHYDRATE", 0.1)),
      busy(3, () => world.wantBack()),
      busy(2, () => world.plan()),
      busy(2, () => maintenance()),
      busy(10, async () => {
        world.disturb();
        await fixture.look("SELECT 1");
      }),
    ]);
    if (random.next() < 0.5) await hoursPass();
  }

  // All go home; what was begun is brought to an end, and scans find out what there is.
  for (let quiet = 0; quiet < 3; quiet += 1) {
    await hoursPass();
    while ((await world.move("STUB", 0)) + (await world.move("REHYDRATE", 0)) > 0);
    await world.scan();
    await maintenance();
  }
  expect(await inventory(world.shareId)).toEqual(expected(world));
  const open = await fixture.look("SELECT tier_id, state, wanted_action, lease_holder FROM tier_object WHERE lease_until_utc IS NOT NULL");
  expect(open).toEqual([]);
  expect(await fixture.violations()).toEqual([]);
});

/** What the inventory shows: the file, and whether it is known to be a stub. */
async function inventory(shareId: bigint): Promise<string[]> {
  const rows = await fixture.look<{ line: string }>(
    `SELECT format('%s/%s %s %s%s', rtrim(d.dir_path, '/'), c.name, c.size_bytes, c.mtime_unix, CASE WHEN t.state = 'STUBBED' THEN ' tiered' END) AS line
     FROM file_current c JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id
     LEFT JOIN tier_object t ON t.tenant_id = c.tenant_id AND t.file_current_id = c.file_current_id
     WHERE c.share_id = $1 AND c.missing_since_scan_id IS NULL`,
    [shareId],
  );
  return rows.map(({ line }) => line).sort();
}

function expected(world: World): string[] {
  return Array.from(world.files, ([path, { disk, stubOf }]) => {
    const { sizeBytes, mtimeUnix } = stubOf?.content ?? disk;
    return `${path} ${sizeBytes} ${mtimeUnix}${stubOf ? " tiered" : ""}`;
  }).sort();
}
