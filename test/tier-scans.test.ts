/** Scans of a share whose files are tiered: what is a stub, and what is not. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate } from "../src/db/migrate.js";
import { DirectoryCache } from "../src/ingest/audit/directory-cache.js";
import type { AuditAction } from "../src/ingest/audit/events.js";
import { pushAudit } from "../src/ingest/audit/push-audit.js";
import { ShareTurns } from "../src/ingest/audit/share-turns.js";
import { receivedBatch } from "./support/audit-batch.js";
import { withRole } from "./support/cluster.js";
import { chunkOf, type FakeFile, type FakeTree, fileRecord, type IngestFixture, ingestFixture, listing } from "./support/ingest.js";
import { runMaintenance } from "./support/maintenance.js";
import { createEmptyDatabase, createTestDatabase, missingPostgres14, postgres14 } from "./support/postgres.js";
import { createTestTenant } from "./support/tenant.js";
import { claim, planFiles, report, stampOf, stateOf } from "./support/tier.js";

let fixture: IngestFixture;
let nextFrn = 1000n;
let nextShare = 0;

for (const version of [18, 14] as const) {
  describe.skipIf(version === 14 && missingPostgres14())(`on PostgreSQL ${version}`, () => {
    let release: () => Promise<unknown>;
    beforeAll(async () => {
      if (version === 18) {
        const database = await createTestDatabase();
        fixture = await ingestFixture(database, (await createTestTenant(database)).tenantId);
        release = () => database.drop();
        return;
      }
      const { cluster, stop } = await postgres14();
      const database = await createEmptyDatabase(cluster);
      await migrate(withRole(cluster, "owner", database.name));
      fixture = await ingestFixture(database, (await createTestTenant(database)).tenantId);
      release = stop;
    });
    afterAll(async () => {
      await fixture.close();
      await release();
    });
    describe("stubs", stubTests);
    describe("between the mover and its report", raceTests);
    describe("gone", goneTests);
  });
}

/** A share of two directories with two files each; all are in the tree that scans walk. */
class Share {
  readonly name = `share-${nextShare++}`;
  readonly tree: FakeTree = new Map();
  shareId = 0n;

  static async create(): Promise<Share> {
    const share = new Share();
    share.shareId = await fixture.createShare(share.name);
    share.tree.set("/", new Map());
    for (const dir of ["/a", "/b"]) share.tree.set(dir, new Map(["x", "y"].map((name) => [name, newFile(1_000_000n)])));
    await share.scan();
    return share;
  }

  file(path: string): FakeFile {
    return this.#dir(path).get(nameOf(path)) as FakeFile;
  }

  put(path: string, file: FakeFile): void {
    this.#dir(path).set(nameOf(path), file);
  }

  remove(path: string): FakeFile {
    const file = this.file(path);
    this.#dir(path).delete(nameOf(path));
    return file;
  }

  #dir(path: string): Map<string, FakeFile> {
    return this.tree.get(path.slice(0, path.lastIndexOf("/")) || "/") as Map<string, FakeFile>;
  }

  async scan() {
    const { scanId } = await fixture.start(this.name);
    const listings = [...this.tree].map(([path, files]) =>
      listing(
        path,
        Array.from(files, ([name, file]) => fileRecord(name, file)),
      ),
    );
    await fixture.push(scanId, [chunkOf(0, listings)]);
    const { added, changed, gone, moved } = await fixture.finish(scanId, { main: 1n });
    return { added, changed, gone, moved };
  }

  /** What the inventory says of a live file. */
  async known(path: string) {
    const rows = await fixture.look<Record<string, string>>(
      `SELECT c.file_current_id, c.size_bytes, c.mtime_unix, c.frn FROM file_current c JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id
       WHERE c.tenant_id = $1 AND c.share_id = $2 AND c.missing_since_scan_id IS NULL AND rtrim(d.dir_path, '/') || '/' || c.name = $3`,
      [fixture.tenantId, this.shareId, path],
    );
    return rows[0];
  }

  /** Plans one file and stubs it, all the way to the report. */
  async stub(path: string): Promise<{ tierId: bigint; original: FakeFile; stub: FakeFile }> {
    const tierId = (await planFiles(fixture, this.shareId, [path])).get(path) as bigint;
    const [claimed] = await claim(fixture, "STUB");
    const original = this.file(path);
    const stub = newFile(120n);
    this.put(path, stub);
    if (!claimed) throw new Error("nothing to claim");
    await report(fixture, claimed, { kind: "stubbed", seen: stampOf(original), stub: stampOf(stub), objectUri: "file:///cold/1" });
    return { tierId, original, stub };
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function newFile(sizeBytes: bigint): FakeFile {
  nextFrn += 1n;
  const time = 1_600_000_000n + nextFrn;
  return { sizeBytes, mtimeUnix: time, atimeUnix: time, ctimeUnix: time, frn: nextFrn };
}

/** Events of now, as an agent sends them. */
async function pushEvents(share: Share, events: [AuditAction, string, string?][]): Promise<void> {
  const now = BigInt(Date.now()) * 1000n;
  async function* messages() {
    yield { open: { shareName: share.name, volumeId: share.name } };
    const batch = events.map(([action, path, targetPath = ""], at) => ({
      action,
      path,
      targetPath,
      offset: BigInt(at),
      timeMicros: now + BigInt(at),
      user: "ada",
      host: "",
      node: "",
      actionName: "",
      refusedReason: "",
      eventId: "",
    }));
    const head = { auditFilePath: "a.log", headFingerprint: Buffer.from("x"), startOffset: 0n, restarted: false };
    yield { batch: receivedBatch({ ...head, endOffset: BigInt(events.length), events: batch }) };
  }
  await pushAudit(
    { ...fixture.context, prefetchIsAccess: false, directories: new DirectoryCache(), turns: new ShareTurns() },
    fixture.tenantId,
    messages(),
  );
}

const nothing = { added: 0n, changed: 0n, gone: 0n, moved: 0n };

/** The reports of this share lie so far back that a listing of now is surely newer. */
async function letTimePass(share: Share): Promise<void> {
  await fixture.look("UPDATE tier_object SET acted_utc = acted_utc - interval '1 hour' WHERE tenant_id = $1 AND share_id = $2", [
    fixture.tenantId,
    share.shareId,
  ]);
}

function maintenance() {
  return runMaintenance({ pool: fixture.context.pool, auditKeepDays: 7, signal: new AbortController().signal });
}

function stubTests(): void {
  test("a stub is no change: size, times, number and identity are the file's, and no version is written", async () => {
    const share = await Share.create();
    const before = await share.known("/a/x");
    const { tierId } = await share.stub("/a/x");
    for (let round = 0; round < 2; round += 1) {
      expect(await share.scan()).toEqual(nothing);
      expect(await share.known("/a/x")).toEqual(before);
    }
    expect((await stateOf(fixture, tierId)).state).toBe("STUBBED");
    expect(await fixture.violations()).toEqual([]);
  });

  test("a stub with another number is still the stub: the volume was restored", async () => {
    const share = await Share.create();
    const before = await share.known("/a/x");
    const { tierId, stub } = await share.stub("/a/x");
    share.put("/a/x", { ...stub, frn: 77n });
    expect(await share.scan()).toEqual(nothing);
    expect(await share.known("/a/x")).toEqual(before);
    // By its new number it is found when it moves.
    share.put("/b/z", share.remove("/a/x"));
    expect(await share.scan()).toEqual({ ...nothing, moved: 1n });
    expect(await share.known("/b/z")).toEqual(before);
    expect((await stateOf(fixture, tierId)).state).toBe("STUBBED");
    expect(await fixture.violations()).toEqual([]);
  });

  test("an overwritten stub is a changed file of the same identity, and its object is REHYDRATED with the reason", async () => {
    const share = await Share.create();
    const before = await share.known("/a/x");
    const { tierId } = await share.stub("/a/x");
    const replaced = newFile(5000n);
    share.put("/a/x", replaced);
    expect(await share.scan()).toEqual({ ...nothing, changed: 1n });
    expect(await share.known("/a/x")).toEqual({
      ...before,
      size_bytes: "5000",
      mtime_unix: String(replaced.mtimeUnix),
      frn: String(replaced.frn),
    });
    expect(await stateOf(fixture, tierId)).toMatchObject({
      state: "REHYDRATED",
      state_reason: "A scan found another file in the place of the stub.",
      file_current_id: before?.file_current_id,
    });
    const log = await fixture.look(
      "SELECT old_state, new_state, source FROM audit_log WHERE tenant_id = $1 AND file_current_id = $2 AND new_state = 'REHYDRATED'",
      [fixture.tenantId, before?.file_current_id],
    );
    expect(log).toEqual([{ old_state: "STUBBED", new_state: "REHYDRATED", source: "stub_overwritten" }]);
    expect(await share.scan()).toEqual(nothing);
    expect(await fixture.violations()).toEqual([]);
  });

  test("the original back in the place of the stub: by a listing that is surely newer, the stub was overwritten", async () => {
    const share = await Share.create();
    const { tierId, original } = await share.stub("/a/x");
    const restored = { ...original, frn: 55n, ctimeUnix: original.ctimeUnix + 9n };
    share.put("/a/x", restored);
    // It may be from before the stub.
    expect(await share.scan()).toEqual(nothing);
    expect((await stateOf(fixture, tierId)).state).toBe("STUBBED");
    await letTimePass(share);
    expect(await share.scan()).toEqual({ ...nothing, changed: 1n });
    expect((await stateOf(fixture, tierId)).state).toBe("REHYDRATED");
    expect(await fixture.violations()).toEqual([]);
  });

  test("a renamed stub, and a renamed directory of stubs, keep identity, state and size", async () => {
    const share = await Share.create();
    const before = [await share.known("/a/x"), await share.known("/b/x"), await share.known("/b/y")];
    const objects = [await share.stub("/a/x"), await share.stub("/b/x")];
    share.put("/a/renamed", share.remove("/a/x"));
    share.tree.set("/c", share.tree.get("/b") as Map<string, FakeFile>);
    share.tree.delete("/b");
    expect(await share.scan()).toEqual({ ...nothing, moved: 3n });
    expect([await share.known("/a/renamed"), await share.known("/c/x"), await share.known("/c/y")]).toEqual(before);
    for (const { tierId } of objects) expect((await stateOf(fixture, tierId)).state).toBe("STUBBED");
    expect(await fixture.violations()).toEqual([]);
    expect(await share.scan()).toEqual(nothing);
  });

  test("a stub that was away for a scan is the same file when it is back, under its old name or another", async () => {
    const share = await Share.create();
    const before = [await share.known("/a/x"), await share.known("/a/y")];
    const objects = [await share.stub("/a/x"), await share.stub("/a/y")];
    const away = [share.remove("/a/x"), share.remove("/a/y")] as const;
    expect(await share.scan()).toEqual({ ...nothing, gone: 2n });
    share.put("/a/x", away[0]);
    share.put("/b/elsewhere", away[1]);
    expect(await share.scan()).toEqual({ ...nothing, added: 2n });
    expect([await share.known("/a/x"), await share.known("/b/elsewhere")]).toEqual(before);
    expect(await share.scan()).toEqual(nothing);
    for (const { tierId } of objects) expect((await stateOf(fixture, tierId)).state).toBe("STUBBED");
    expect(await fixture.violations()).toEqual([]);
  });

  test("what is restored as it was is a change of number and times, and no other file", async () => {
    const share = await Share.create();
    const before = await share.known("/a/x");
    const { tierId, original } = await share.stub("/a/x");
    await fixture.look("UPDATE tier_object SET wanted_action = 'REHYDRATE' WHERE tier_id = $1", [tierId]);
    const [claimed] = await claim(fixture, "REHYDRATE");
    const restored = { ...original, frn: 66n };
    share.put("/a/x", restored);
    // A scan before the report says nothing of it.
    expect(await share.scan()).toEqual(nothing);
    expect((await stateOf(fixture, tierId)).state).toBe("STUBBED");
    await report(fixture, claimed as never, { kind: "rehydrated", file: stampOf(restored) });
    expect((await stateOf(fixture, tierId)).state).toBe("REHYDRATED");
    expect(await share.scan()).toEqual({ ...nothing, changed: 1n });
    expect(await share.known("/a/x")).toEqual({ ...before, frn: "66" });
    expect(await fixture.violations()).toEqual([]);
  });

  test("a listing of the stub that comes after the report of the restored file is an old one", async () => {
    const share = await Share.create();
    const before = await share.known("/a/x");
    const { tierId, original, stub } = await share.stub("/a/x");
    await fixture.look("UPDATE tier_object SET wanted_action = 'REHYDRATE' WHERE tier_id = $1", [tierId]);
    const [claimed] = await claim(fixture, "REHYDRATE");
    await report(fixture, claimed as never, { kind: "rehydrated", file: stampOf(original) });
    share.put("/a/x", stub);
    expect(await share.scan()).toEqual(nothing);
    expect(await share.known("/a/x")).toEqual(before);
  });
}

function raceTests(): void {
  test("a stub that nobody announced is taken for nothing until its lease ends, then for a changed file", async () => {
    const share = await Share.create();
    const before = await share.known("/a/x");
    const tierId = (await planFiles(fixture, share.shareId, ["/a/x"])).get("/a/x") as bigint;
    const [claimed] = await claim(fixture, "STUB");
    const original = share.file("/a/x");
    const stub = newFile(120n);
    share.put("/a/x", stub);
    expect(await share.scan()).toEqual(nothing);
    expect(await share.known("/a/x")).toEqual(before);
    await report(fixture, claimed as never, { kind: "stubbed", seen: stampOf(original), stub: stampOf(stub), objectUri: "file:///cold/1" });
    expect(await share.scan()).toEqual(nothing);
    expect(await share.known("/a/x")).toEqual(before);

    await planFiles(fixture, share.shareId, ["/b/x"]);
    await claim(fixture, "STUB");
    share.put("/b/x", { ...newFile(121n), frn: share.file("/b/x").frn });
    await fixture.look(
      "UPDATE tier_object SET lease_until_utc = now() - interval '1 hour' WHERE tenant_id = $1 AND tier_id <> $2 AND state = 'PLANNED'",
      [fixture.tenantId, tierId],
    );
    expect(await share.scan()).toEqual({ ...nothing, changed: 1n });
    expect(await fixture.violations()).toEqual([]);
  });

  test("a stub that was announced is known for one even when its mover is gone, and the next claim tells of it", async () => {
    const share = await Share.create();
    const before = await share.known("/a/x");
    const tierId = (await planFiles(fixture, share.shareId, ["/a/x"])).get("/a/x") as bigint;
    const [claimed] = await claim(fixture, "STUB");
    const stub = newFile(120n);
    await report(fixture, claimed as never, { kind: "progress", leaseSeconds: 60, stub: stampOf(stub), objectUri: "file:///cold/7" });
    const original = share.file("/a/x");
    share.put("/a/x", stub);
    await fixture.look("UPDATE tier_object SET lease_until_utc = now() - interval '1 hour' WHERE tier_id = $1", [tierId]);
    expect(await share.scan()).toEqual(nothing);
    expect(await share.known("/a/x")).toEqual(before);
    // Not even its plan is cancelled: nobody knows yet what is in the file's place.
    await maintenance();
    const [again] = await claim(fixture, "STUB");
    expect(again).toMatchObject({ tier_id: tierId, object_uri: "file:///cold/7", stub_size_bytes: 120n, attempts: 1, settle_only: false });
    await report(fixture, again as never, { kind: "stubbed", seen: stampOf(original), stub: stampOf(stub), objectUri: "file:///cold/7" });
    expect(await share.scan()).toEqual(nothing);
    expect(await fixture.violations()).toEqual([]);
  });

  test.each([true, false])(
    "a stub that a scan took for the file, and that is reported late, is the file again (same number: %s)",
    async (sameNumber) => {
      const share = await Share.create();
      const before = await share.known("/a/x");
      const tierId = (await planFiles(fixture, share.shareId, ["/a/x"])).get("/a/x") as bigint;
      const [claimed] = await claim(fixture, "STUB");
      const original = share.file("/a/x");
      const stub = sameNumber ? { ...newFile(120n), frn: original.frn } : newFile(120n);
      share.put("/a/x", stub);
      await fixture.look("UPDATE tier_object SET lease_until_utc = now() - interval '1 hour' WHERE tier_id = $1", [tierId]);
      expect(await share.scan()).toEqual(sameNumber ? { ...nothing, changed: 1n } : { ...nothing, added: 1n, gone: 1n });
      await report(fixture, claimed as never, {
        kind: "stubbed",
        seen: stampOf(original),
        stub: stampOf(stub),
        objectUri: "file:///cold/1",
      });
      expect((await maintenance()).tier).toMatchObject({ reclaimed: 1, closed: 0 });
      expect(await share.known("/a/x")).toEqual(before);
      expect(await share.scan()).toEqual(nothing);
      expect(await share.known("/a/x")).toEqual(before);
      expect((await maintenance()).tier).toMatchObject({ reclaimed: 0 });
      expect((await stateOf(fixture, tierId)).state).toBe("STUBBED");
      expect(await fixture.violations()).toEqual([]);
    },
  );

  test.each(["edited", "renamed"])("a restored file that is %s before the next scan is still the same file", async (what) => {
    const share = await Share.create();
    const before = await share.known("/a/x");
    const { tierId, original } = await share.stub("/a/x");
    await fixture.look("UPDATE tier_object SET wanted_action = 'REHYDRATE' WHERE tier_id = $1", [tierId]);
    const [claimed] = await claim(fixture, "REHYDRATE");
    const restored = { ...original, frn: nextFrn++ + 500_000n };
    await report(fixture, claimed as never, { kind: "rehydrated", file: stampOf(restored) });
    share.remove("/a/x");
    const [path, file] =
      what === "edited" ? (["/a/x", { ...restored, sizeBytes: 7n, mtimeUnix: 1_700_000_000n }] as const) : (["/b/z", restored] as const);
    share.put(path, file);
    expect(await share.scan()).toEqual(what === "edited" ? { ...nothing, changed: 1n } : { ...nothing, moved: 1n });
    expect(await share.known(path)).toMatchObject({ file_current_id: before?.file_current_id, size_bytes: String(file.sizeBytes) });
    await share.scan();
    expect(await share.known(path)).toMatchObject({ file_current_id: before?.file_current_id, frn: String(restored.frn) });
    expect(await share.scan()).toEqual(nothing);
    expect(await fixture.violations()).toEqual([]);
  });

  test("a file that changes while a mover copies it is known as changed once the mover has given it up", async () => {
    const share = await Share.create();
    const tierId = (await planFiles(fixture, share.shareId, ["/a/x"])).get("/a/x") as bigint;
    const [claimed] = await claim(fixture, "STUB");
    const edited = { ...share.file("/a/x"), sizeBytes: 5n, mtimeUnix: 1_700_000_000n };
    share.put("/a/x", edited);
    expect(await share.scan()).toEqual(nothing);
    await report(fixture, claimed as never, { kind: "skipped", reason: "it changed" });
    expect(await stateOf(fixture, tierId)).toMatchObject({ state: "DELETED", state_reason: "it changed" });
    expect(await share.scan()).toEqual({ ...nothing, changed: 1n });
    expect(await fixture.violations()).toEqual([]);
  });
}

function goneTests(): void {
  test("one scan's absence does not close an object, two complete scans do", async () => {
    const share = await Share.create();
    const { tierId } = await share.stub("/a/x");
    share.remove("/a/x");
    await share.scan();
    await maintenance();
    expect((await stateOf(fixture, tierId)).state).toBe("STUBBED");
    await share.scan();
    await maintenance();
    expect(await stateOf(fixture, tierId)).toMatchObject({ state: "DELETED", state_reason: "Two complete scans did not find the file." });
    expect(await fixture.violations()).toEqual([]);
  });

  test("a scan with unreadable directories is no proof", async () => {
    const share = await Share.create();
    const { tierId } = await share.stub("/a/x");
    share.remove("/a/x");
    await share.scan();
    const { scanId } = await fixture.start(share.name);
    const files = (path: string) => Array.from(share.tree.get(path) ?? [], ([name, file]) => fileRecord(name, file));
    const unreadable = listing("/b", [], { complete: false, unreadableReason: "EACCES" });
    await fixture.push(scanId, [chunkOf(0, [listing("/", []), listing("/a", files("/a")), unreadable])]);
    expect((await fixture.finish(scanId, { main: 1n })).status).toBe("WARN");
    await maintenance();
    expect((await stateOf(fixture, tierId)).state).toBe("STUBBED");
  });

  test("an audit event closes an object at once, and a stub that one says was written to is flagged", async () => {
    const share = await Share.create();
    const gone = await share.stub("/a/x");
    const written = await share.stub("/b/y");
    await share.scan();
    await pushEvents(share, [
      ["DELETE_FILE", "/a/x"],
      ["WRITE", "/b/y"],
    ]);
    expect((await maintenance()).tier).toMatchObject({ closed: 1, flagged: 1, cancelled: 0 });
    expect(await stateOf(fixture, gone.tierId)).toMatchObject({
      state: "DELETED",
      state_reason: "An audit event told that the file is gone.",
    });
    expect(await stateOf(fixture, written.tierId)).toMatchObject({
      state: "STUBBED",
      state_reason: expect.stringContaining("write to the stub"),
    });
    // Said once, and the stub is still there.
    expect((await maintenance()).tier).toMatchObject({ closed: 0, flagged: 0 });
    share.remove("/a/x");
    expect(await share.scan()).toEqual(nothing);
    const known = await fixture.look(
      "SELECT c.size_bytes, c.stale_metadata FROM tier_object t JOIN file_current c USING (tenant_id, file_current_id) WHERE t.tier_id = $1",
      [written.tierId],
    );
    expect(known).toEqual([{ size_bytes: "1000000", stale_metadata: false }]);
    expect(await stateOf(fixture, written.tierId)).toMatchObject({ state: "STUBBED", state_reason: null });
    expect(await fixture.violations()).toEqual([]);
  });

  test("a stub that an audit event moved is the file under its new name, in the next scan too", async () => {
    const share = await Share.create();
    const before = await share.known("/a/x");
    const { tierId } = await share.stub("/a/x");
    await pushEvents(share, [["MOVE", "/a/x", "/b/moved"]]);
    share.put("/b/moved", share.remove("/a/x"));
    await share.scan();
    expect(await share.known("/b/moved")).toEqual(before);
    expect((await stateOf(fixture, tierId)).state).toBe("STUBBED");
    expect((await maintenance()).tier).toMatchObject({ closed: 0 });
    expect(await fixture.violations()).toEqual([]);
  });

  test("plans whose files changed or went are cancelled, leases of movers that are gone are returned", async () => {
    const share = await Share.create();
    const planned = await planFiles(fixture, share.shareId, ["/a/x", "/a/y", "/b/x", "/b/y"]);
    await claim(fixture, "STUB");
    const held = planned.get("/b/y") as bigint;
    await fixture.look(
      "UPDATE tier_object SET lease_until_utc = now() + CASE WHEN tier_id = $2 THEN interval '1 hour' ELSE interval '-1 hour' END WHERE tenant_id = $1 AND share_id = $3",
      [fixture.tenantId, held, share.shareId],
    );
    share.put("/a/x", { ...share.file("/a/x"), sizeBytes: 9n });
    share.remove("/a/y");
    share.remove("/b/y");
    await share.scan();
    expect((await maintenance()).tier).toMatchObject({ leasesReturned: 3, cancelled: 2, closed: 0 });
    expect(await stateOf(fixture, planned.get("/a/x") as bigint)).toMatchObject({
      state: "DELETED",
      state_reason: "The file changed after it was planned.",
    });
    expect((await stateOf(fixture, planned.get("/a/y") as bigint)).state).toBe("DELETED");
    expect(await stateOf(fixture, planned.get("/b/x") as bigint)).toMatchObject({
      state: "PLANNED",
      state_reason: "The lease of test mover ended without a report.",
    });
    expect((await stateOf(fixture, held)).state).toBe("PLANNED");
  });
}
