/** Scans of a share that changes at random, against a model that knows what was done to it; on the newest and the oldest PostgreSQL. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate } from "../src/db/migrate.js";
import type { DomainError } from "../src/errors.js";
import { joinPath } from "../src/paths.js";
import { withRole } from "./support/cluster.js";
import { type FakeFile, type IngestFixture, ingestFixture, treeChunks } from "./support/ingest.js";
import { createEmptyDatabase, createTestDatabase, missingPostgres14, postgres14 } from "./support/postgres.js";
import { type Random, seededRandom } from "./support/random.js";
import { createTestTenant } from "./support/tenant.js";

/** A file of the model: the same object as long as it is the same file. */
interface ModelFile extends FakeFile {
  fileNo: number;
}
type ModelTree = Map<string, Map<string, ModelFile>>;

for (const version of [18, 14] as const) {
  describe.skipIf(version === 14 && missingPostgres14())(`on PostgreSQL ${version}`, () => {
    let fixture: IngestFixture;
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

    test("numbers never used twice: every file keeps its identity through edits, renames, replacement and return", async () => {
      await play(fixture, `unique-${version}`, true, seededRandom());
    });

    test("numbers used again at once: renamed files keep their identity, new files never get another's", async () => {
      await play(fixture, `reused-${version}`, false, seededRandom());
    });
  });
}

/** Ten scans of a share with random changes between, each compared with the model; then every snapshot and every diff. */
async function play(fixture: IngestFixture, shareName: string, uniqueFrn: boolean, random: Random): Promise<void> {
  const shareId = await fixture.createShare(shareName);
  await fixture.look("UPDATE share SET brake_percent = 100 WHERE share_id = $1", [shareId]);
  const model = new Model(random, uniqueFrn);
  const scans: { scanId: bigint; listing: string[] }[] = [];
  const rowOf = new Map<number, string>();
  let before = new Map<number, { path: string; file: ModelFile }>();
  for (let round = 0; round < 10; round += 1) {
    const unreadable = round > 0 && random.next() < 0.5 ? model.pickDirectory() : undefined;
    if (round > 0) model.change(random.between(5, 40), unreadable);
    const scan = await fixture.start(shareName, { uniqueFrn });
    const chunks = treeChunks(model.tree, random, new Set(unreadable === undefined ? [] : [unreadable]));
    const cut = random.between(0, chunks.length);
    // Such a stream may end inside a directory: then that directory's chunks are not committed, and come again.
    await fixture.push(scan.scanId, chunks.slice(0, cut)).catch((error: DomainError) => expect(error.reason).toBe("LISTING_NOT_ENDED"));
    const again = await fixture.push(scan.scanId, chunks);
    expect(again.nextChunkNo).toBe(BigInt(chunks.length));
    const done = await fixture.finish(scan.scanId, { main: BigInt(chunks.length) });

    const now = model.byFile();
    expect(counts(done), `counts of round ${round}`).toEqual({
      ...expectedCounts(before, now),
      unreadable: unreadable === undefined ? 0n : 1n,
    });
    expect(await liveRows(fixture, shareId, rowOf, now)).toEqual([]);
    scans.push({ scanId: scan.scanId, listing: model.lines() });
    before = now;
    model.settle();
  }
  for (const { scanId, listing } of scans) expect(await snapshot(fixture, shareId, scanId), `snapshot of ${scanId}`).toEqual(listing);
  for (const [at, from] of scans.entries()) {
    for (const to of scans.slice(at + 1)) {
      expect(await difference(fixture, shareId, from.scanId, to.scanId)).toEqual(expectedDifference(from.listing, to.listing));
    }
  }
  expect(await fixture.violations()).toEqual([]);
}

class Model {
  readonly tree: ModelTree = new Map([["/", new Map()]]);
  readonly #random: Random;
  readonly #uniqueFrn: boolean;
  readonly #freeFrns: bigint[] = [];
  #gone: { path: string; name: string; file: ModelFile }[] = [];
  #nextNo = 1;
  /** Where the last scan saw each file. */
  #seenAt = new Map<number, string>();
  /** Edited since the last scan. */
  readonly #edited = new Set<ModelFile>();
  /** Back since the last scan: known again under their old path, and only there. */
  readonly #restored = new Set<ModelFile>();

  constructor(random: Random, uniqueFrn: boolean) {
    this.#random = random;
    this.#uniqueFrn = uniqueFrn;
    for (let at = 0; at < 20; at += 1) this.#makeDirectory(undefined);
    for (let at = 0; at < 300; at += 1) this.#create(undefined);
  }

  /** Random operations, none of them in or below `frozen`. */
  change(count: number, frozen: string | undefined): void {
    this.#gone = this.#gone.filter(({ path }) => this.tree.has(path) && !inside(path, frozen));
    const operations = [
      this.#create,
      this.#edit,
      this.#delete,
      this.#rename,
      this.#replace,
      this.#makeDirectory,
      this.#removeDirectory,
      this.#renameDirectory,
    ];
    if (this.#uniqueFrn) operations.push(this.#restore);
    for (let at = 0; at < count; at += 1) this.#random.pick(operations).call(this, frozen);
  }

  /** A scan has seen the tree as it is. */
  settle(): void {
    this.#seenAt = new Map([...this.byFile()].map(([fileNo, { path }]) => [fileNo, path]));
    this.#edited.clear();
    this.#restored.clear();
  }

  pickDirectory(): string {
    return this.#random.pick([...this.tree.keys()].filter((path) => path !== "/"));
  }

  byFile(): Map<number, { path: string; file: ModelFile }> {
    const files = new Map<number, { path: string; file: ModelFile }>();
    for (const [dirPath, names] of this.tree)
      for (const [name, file] of names) files.set(file.fileNo, { path: joinPath(dirPath, name), file: { ...file } });
    return files;
  }

  lines(): string[] {
    return [...this.byFile().values()]
      .map(({ path, file }) => line(path, file.sizeBytes, file.mtimeUnix, file.ctimeUnix, file.atimeUnix))
      .sort();
  }

  #directories(frozen: string | undefined): string[] {
    return [...this.tree.keys()].filter((path) => !inside(path, frozen));
  }

  #anyFile(frozen: string | undefined): { path: string; names: Map<string, ModelFile>; name: string; file: ModelFile } | undefined {
    const path = this.#random.pick(this.#directories(frozen));
    const names = this.tree.get(path) as Map<string, ModelFile>;
    if (names.size === 0) return undefined;
    const [name, file] = this.#random.pick([...names]);
    return { path, names, name, file };
  }

  #newFrn(): bigint {
    if (!this.#uniqueFrn && this.#freeFrns.length > 0) return this.#freeFrns.pop() as bigint;
    return BigInt(this.#nextNo) + 10_000n;
  }

  #stamp(): { sizeBytes: bigint; mtimeUnix: bigint; atimeUnix: bigint; ctimeUnix: bigint } {
    const mtimeUnix = BigInt(this.#nextNo++) * 10n + BigInt(this.#random.between(-1_000_000, 200_000_000)) * 1000n;
    return { sizeBytes: BigInt(this.#random.between(0, 1e9)), mtimeUnix, atimeUnix: mtimeUnix + 5n, ctimeUnix: mtimeUnix + 1n };
  }

  #create(frozen: string | undefined): void {
    const path = this.#random.pick(this.#directories(frozen));
    const frn = this.#newFrn();
    const file = { fileNo: this.#nextNo, frn, ...this.#stamp() };
    (this.tree.get(path) as Map<string, ModelFile>).set(`file ${file.fileNo}.Txt`, file);
  }

  #edit(frozen: string | undefined): void {
    const found = this.#anyFile(frozen);
    if (!found) return;
    // Renamed and edited at once, a file is known by its number alone: only where numbers are unique.
    if (!this.#uniqueFrn && this.#seenAt.get(found.file.fileNo) !== joinPath(found.path, found.name)) return;
    this.#edited.add(found.file);
    const { atimeUnix } = found.file;
    Object.assign(found.file, this.#stamp());
    // The effective access time never goes back; the model keeps it simple by not doing so either.
    if (found.file.atimeUnix < atimeUnix) found.file.atimeUnix = atimeUnix;
  }

  #delete(frozen: string | undefined): void {
    const found = this.#anyFile(frozen);
    if (!found) return;
    found.names.delete(found.name);
    this.#forget(found.path, found.name, found.file);
  }

  #forget(path: string, name: string, file: ModelFile): void {
    if (file.frn !== undefined) this.#freeFrns.push(file.frn);
    // It can only be known again under the path where a scan has seen it.
    if (this.#seenAt.get(file.fileNo) === joinPath(path, name)) this.#gone.push({ path, name, file });
  }

  /** A deleted file comes back under its old path, as from a recycle bin. */
  #restore(frozen: string | undefined): void {
    const at = this.#gone.findIndex(({ path, name }) => this.tree.has(path) && !inside(path, frozen) && !this.tree.get(path)?.has(name));
    const back = this.#gone.splice(at, at < 0 ? 0 : 1)[0];
    if (!back) return;
    this.tree.get(back.path)?.set(back.name, back.file);
    this.#restored.add(back.file);
  }

  #rename(frozen: string | undefined): void {
    const found = this.#anyFile(frozen);
    if (!found || !this.#mayMove([found.file])) return;
    const to = this.#random.pick(this.#directories(frozen));
    found.names.delete(found.name);
    found.file.ctimeUnix += 1n;
    (this.tree.get(to) as Map<string, ModelFile>).set(`renamed ${this.#nextNo++}.txt`, found.file);
  }

  /** One file is moved over another. */
  #replace(frozen: string | undefined): void {
    const from = this.#anyFile(frozen);
    const onto = this.#anyFile(frozen);
    if (!from || !onto || from.file === onto.file || !this.#mayMove([from.file])) return;
    from.names.delete(from.name);
    onto.names.set(onto.name, from.file);
    if (onto.file.frn !== undefined) this.#freeFrns.push(onto.file.frn);
  }

  #mayMove(files: ModelFile[]): boolean {
    return !files.some((file) => this.#restored.has(file) || (!this.#uniqueFrn && this.#edited.has(file)));
  }

  #makeDirectory(frozen: string | undefined): void {
    this.tree.set(joinPath(this.#random.pick(this.#directories(frozen)), `dir ${this.#nextNo++}`), new Map());
  }

  #removeDirectory(frozen: string | undefined): void {
    if (this.#random.next() < 0.6) return;
    const root = this.#wholeDirectory(frozen);
    if (root === undefined) return;
    for (const [path, names] of [...this.tree]) {
      if (!inside(path, root)) continue;
      this.tree.delete(path);
      for (const [name, file] of names) this.#forget(path, name, file);
    }
  }

  #renameDirectory(frozen: string | undefined): void {
    const root = this.#wholeDirectory(frozen);
    if (root === undefined || !this.#mayMove([...this.tree].flatMap(([path, names]) => (inside(path, root) ? [...names.values()] : []))))
      return;
    const to = `${root.slice(0, root.lastIndexOf("/"))}/moved ${this.#nextNo++}`;
    for (const [path, names] of [...this.tree]) {
      if (!inside(path, root)) continue;
      this.tree.delete(path);
      this.tree.set(to + path.slice(root.length), names);
    }
  }

  /** One that neither is, lies in, nor holds the frozen one. */
  #wholeDirectory(frozen: string | undefined): string | undefined {
    const free = this.#directories(frozen).filter((path) => path !== "/" && (frozen === undefined || !inside(frozen, path)));
    return free.length === 0 ? undefined : this.#random.pick(free);
  }
}

function inside(path: string, root: string | undefined): boolean {
  return root !== undefined && (path === root || path.startsWith(`${root}/`));
}

function line(path: string, ...values: bigint[]): string {
  return `${path} ${values.join(" ")}`;
}

function counts({
  added,
  changed,
  gone,
  moved,
  unreadable,
}: {
  added: bigint;
  changed: bigint;
  gone: bigint;
  moved: bigint;
  unreadable: bigint;
}) {
  return { added, changed, gone, moved, unreadable };
}

function expectedCounts(before: Map<number, { path: string; file: ModelFile }>, now: Map<number, { path: string; file: ModelFile }>) {
  const counted = { added: 0n, changed: 0n, gone: 0n, moved: 0n };
  for (const [fileNo, { path, file }] of now) {
    const old = before.get(fileNo);
    if (!old) counted.added += 1n;
    else if (old.path !== path) counted.moved += 1n;
    else if (
      line("", old.file.sizeBytes, old.file.mtimeUnix, old.file.ctimeUnix) !== line("", file.sizeBytes, file.mtimeUnix, file.ctimeUnix)
    )
      counted.changed += 1n;
  }
  for (const fileNo of before.keys()) if (!now.has(fileNo)) counted.gone += 1n;
  return counted;
}

/** What the current state has wrong: paths, values, and rows that are not the file's since it was first seen. */
async function liveRows(
  fixture: IngestFixture,
  shareId: bigint,
  rowOf: Map<number, string>,
  now: Map<number, { path: string; file: ModelFile }>,
): Promise<string[]> {
  const rows = await fixture.look<{ id: string; path: string; line: string; ext: string }>(
    `SELECT file_current_id AS id, CASE d.dir_path WHEN '/' THEN '/' ELSE d.dir_path || '/' END || c.name AS path, c.file_extension AS ext,
       format('%s %s %s', size_bytes, mtime_unix, ctime_unix) AS line
     FROM file_current c JOIN dir d USING (tenant_id, dir_id) WHERE c.share_id = $1 AND c.missing_since_scan_id IS NULL`,
    [shareId],
  );
  const wrong: string[] = [];
  const byPath = new Map(rows.map((row) => [row.path, row]));
  for (const [fileNo, { path, file }] of now) {
    const row = byPath.get(path);
    byPath.delete(path);
    if (!row) wrong.push(`${path} is not there`);
    else if (row.line !== `${file.sizeBytes} ${file.mtimeUnix} ${file.ctimeUnix}` || row.ext !== "txt")
      wrong.push(`${path} has ${row.line} ${row.ext}`);
    else if (rowOf.has(fileNo) && rowOf.get(fileNo) !== row.id)
      wrong.push(`${path} lost its identity: ${rowOf.get(fileNo)} is now ${row.id}`);
    else rowOf.set(fileNo, row.id);
  }
  if (new Set(rowOf.values()).size !== rowOf.size) wrong.push("two files share an identity");
  return [...wrong, ...[...byPath.keys()].map((path) => `${path} is a ghost`)];
}

const pathOf = "CASE d.dir_path WHEN '/' THEN '/' ELSE d.dir_path || '/' END || v.name";

async function snapshot(fixture: IngestFixture, shareId: bigint, scanId: bigint): Promise<string[]> {
  const rows = await fixture.look<{ line: string }>(
    `SELECT format('%s %s %s %s %s', ${pathOf}, size_bytes, mtime_unix, ctime_unix, atime_unix) AS line
     FROM scan_snapshot($1, $2, $3) v JOIN dir d USING (tenant_id, dir_id)`,
    [fixture.tenantId, shareId, scanId],
  );
  return rows.map((row) => row.line).sort();
}

async function difference(fixture: IngestFixture, shareId: bigint, from: bigint, to: bigint): Promise<string[]> {
  const rows = await fixture.look<{ line: string }>(
    `SELECT difference::text || ' ' || ${pathOf} AS line FROM scan_diff($1, $2, $3, $4) v JOIN dir d ON d.tenant_id = $1 AND d.dir_id = v.dir_id`,
    [fixture.tenantId, shareId, from, to],
  );
  return rows.map((row) => row.line).sort();
}

/** Lines are `path values`; a path has no space-separated number at its end, so the last four words are the values. */
function expectedDifference(from: string[], to: string[]): string[] {
  const parse = (lines: string[]) => new Map(lines.map((text) => [text.split(" ").slice(0, -4).join(" "), text]));
  const old = parse(from);
  const found: string[] = [];
  for (const [path, text] of parse(to)) {
    if (!old.has(path)) found.push(`A ${path}`);
    else if (old.get(path) !== text) found.push(`C ${path}`);
    old.delete(path);
  }
  return [...found, ...[...old.keys()].map((path) => `R ${path}`)].sort();
}
