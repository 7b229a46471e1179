/** A share that is scanned again and again while its files come, change, go and come back, and what each scan saw. */
import { streamDiff } from "../../src/history/diff.js";
import { streamSnapshot } from "../../src/history/snapshot.js";
import { type FakeFile, type FakeTree, type IngestFixture, treeChunks } from "./ingest.js";
import type { Random } from "./random.js";

const never = new AbortController().signal;

export class RetainedShare {
  readonly scanIds: bigint[] = [];
  /** After each scan: path -> what the file was. */
  readonly #seen: Map<string, string>[] = [];
  readonly #tree: FakeTree = new Map();
  #clock = 1_700_000_000n;

  constructor(
    readonly fixture: IngestFixture,
    readonly shareName: string,
    readonly random: Random,
    /** Names that there may be. */
    readonly names = 300,
  ) {}

  /** One more scan, after a fifth of the files were touched. */
  async scan(): Promise<bigint> {
    this.#change();
    const { scanId } = await this.fixture.start(this.shareName);
    const chunks = treeChunks(this.#tree, this.random);
    await this.fixture.push(scanId, chunks);
    const wanted = { main: BigInt(chunks.length) };
    await this.fixture.finish(scanId, wanted);
    this.scanIds.push(scanId);
    this.#seen.push(
      new Map([...this.#tree].flatMap(([dir, files]) => [...files].map(([name, file]) => [`${dir} ${name}`, text(file)] as const))),
    );
    return scanId;
  }

  /** Versions that history must have when the last `kept` scans are kept: the files of the oldest, and each difference since. */
  versions(kept: number): number {
    const first = this.#seen.length - kept;
    let versions = (this.#seen[first] as Map<string, string>).size;
    for (let n = first + 1; n < this.#seen.length; n++) {
      const [before, after] = [this.#seen[n - 1], this.#seen[n]] as [Map<string, string>, Map<string, string>];
      for (const path of new Set([...before.keys(), ...after.keys()])) if (before.get(path) !== after.get(path)) versions += 1;
    }
    return versions;
  }

  /** What can be read of the last `kept` scans: each one's snapshot, and the difference of each pair. */
  async readable(kept: number): Promise<string[]> {
    const { context, tenantId } = this.fixture;
    const scanIds = this.scanIds.slice(-kept);
    const lines: string[] = [];
    const add = async (what: string, batches: AsyncIterable<object[]>) => {
      for await (const batch of batches) for (const row of batch) lines.push(`${what}: ${line(row)}`);
    };
    for (const [at, to] of scanIds.entries()) {
      await add(`snapshot ${to}`, streamSnapshot(context.pool, tenantId, to, never));
      for (const from of scanIds.slice(0, at)) await add(`diff ${from} ${to}`, streamDiff(context.pool, tenantId, from, to, never));
    }
    return lines.sort();
  }

  #change(): void {
    for (let n = 0; n < this.names / 5 || this.#tree.size === 0; n++) {
      const number = this.random.between(0, this.names - 1);
      const dir = number % 7 === 0 ? "/" : `/d${number % 7}`;
      const files = this.#tree.get(dir) ?? new Map<string, FakeFile>();
      this.#tree.set(dir, files);
      this.#clock += 1n;
      const name = `file ${number}`;
      if (files.has(name) && this.random.next() < 0.4) files.delete(name);
      else
        files.set(name, { sizeBytes: this.#clock, mtimeUnix: this.#clock, atimeUnix: this.#clock, ctimeUnix: this.#clock, frn: undefined });
    }
    if (!this.#tree.has("/")) this.#tree.set("/", new Map());
  }
}

function text(file: FakeFile): string {
  return `${file.sizeBytes} ${file.mtimeUnix}`;
}

function line(row: object): string {
  return JSON.stringify(row, (_, value) => (typeof value === "bigint" ? String(value) : value));
}
