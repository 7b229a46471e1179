/** The ingest pipeline without the network, and a share that lives in memory, for tests of what a merge does. */
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs, timestampNow } from "@bufbuild/protobuf/wkt";
import { DirIds } from "../../src/db/id-blocks.js";
import { createPools } from "../../src/db/pool.js";
import { Turns } from "../../src/fairness/turns.js";
import { type Chunk, ChunkSchema, DirectoryListingSchema, FileRecordSchema } from "../../src/gen/frostline/v1/scan_pb.js";
import { IngestConnections } from "../../src/ingest/connections.js";
import { abortScan, finishScan } from "../../src/ingest/finish.js";
import { type IngestContext, type PushMessage, pushScan } from "../../src/ingest/push.js";
import { type ScanMode, type ScanRow, startScan } from "../../src/ingest/scans.js";
import { verify } from "../../src/verify/verify.js";
import { withClient } from "./postgres.js";
import type { Random } from "./random.js";

/** What a scan reads of a file. Times in seconds. */
export interface FakeFile {
  sizeBytes: bigint;
  mtimeUnix: bigint;
  atimeUnix: bigint;
  ctimeUnix: bigint;
  frn: bigint | undefined;
}

/** Directory path -> name -> file; every directory is there, empty ones too. */
export type FakeTree = Map<string, Map<string, FakeFile>>;

export interface IngestFixture {
  tenantId: string;
  context: IngestContext;
  connections: IngestConnections;
  createShare(shareName: string, options?: { caseSensitive?: boolean; srcType?: string }): Promise<bigint>;
  start(shareName: string, options?: { mode?: ScanMode; uniqueFrn?: boolean; exactListTimes?: boolean }): Promise<ScanRow>;
  push(scanId: bigint, chunks: Iterable<Chunk> | AsyncIterable<Chunk>, writer?: string): ReturnType<typeof pushScan>;
  finish(scanId: bigint, chunks: Record<string, bigint>): Promise<ScanRow>;
  abort(scanId: bigint): Promise<ScanRow>;
  /** Rows as the superuser sees them. */
  look<Row extends Record<string, unknown>>(sql: string, values?: unknown[]): Promise<Row[]>;
  violations(): Promise<string[]>;
  close(): Promise<void>;
}

export async function ingestFixture(database: { runtimeUrl: string; superuserUrl: string }, tenantId: string): Promise<IngestFixture> {
  const idleErrors: Error[] = [];
  const pools = createPools(database.runtimeUrl, { queryPoolMax: 10, ingestPoolMax: 8, onIdleError: (error) => idleErrors.push(error) });
  const connections = new IngestConnections({ merging: pools.ingest, audit: pools.audit }, 8);
  const context: IngestContext = {
    pool: pools.query,
    connections,
    dirIds: new DirIds(),
    tenantTurns: new Turns({ othersAreWaiting: () => false }),
    openStreams: { count: 0 },
    observer: { streamOpened() {}, streamClosed() {}, segmentDone() {}, filesFinished() {}, auditDone() {} },
    drainSignal: new AbortController().signal,
  };
  const look: IngestFixture["look"] = (sql, values = []) =>
    withClient(database.superuserUrl, async (client) => (await client.query(sql, values)).rows as never);
  return {
    tenantId,
    context,
    connections,
    look,
    async createShare(shareName, { caseSensitive = true, srcType = "LucidLink" } = {}) {
      const rows = await look<{ share_id: string }>(
        "INSERT INTO share (tenant_id, share_name, src_type, case_sensitive) VALUES ($1, $2, $3, $4) RETURNING share_id",
        [tenantId, shareName, srcType, caseSensitive],
      );
      return BigInt(rows[0]?.share_id ?? 0);
    },
    start: (shareName, { mode = "FULL", uniqueFrn = false, exactListTimes = true } = {}) =>
      startScan(pools.query, tenantId, { shareName, mode, uniqueFrn, exactListTimes }),
    push: (scanId, chunks, writer = "main") => pushScan(context, tenantId, messages(scanId, writer, chunks)),
    finish: (scanId, chunks) => finishScan(context, tenantId, scanId, chunks),
    abort: (scanId) => abortScan(connections, tenantId, scanId),
    async violations() {
      const found: string[] = [];
      for await (const { invariant, rows } of verify(pools.query)) found.push(...rows.map((row) => `${invariant}: ${row}`));
      return found;
    },
    close: () => pools.end(),
  };
}

async function* messages(scanId: bigint, writer: string, chunks: Iterable<Chunk> | AsyncIterable<Chunk>): AsyncGenerator<PushMessage> {
  yield { message: { case: "open", value: { scanId, writer } } };
  for await (const chunk of chunks) yield { message: { case: "chunk", value: toBinary(ChunkSchema, chunk) } };
}

export function fileRecord(name: string | Uint8Array, file: FakeFile) {
  return create(FileRecordSchema, {
    name: typeof name === "string" ? Buffer.from(name) : name,
    sizeBytes: file.sizeBytes,
    mtimeUnix: file.mtimeUnix,
    atimeBeforeMtime: file.mtimeUnix - file.atimeUnix,
    ctimeBeforeMtime: file.mtimeUnix - file.ctimeUnix,
    ...(file.frn === undefined ? {} : { frn: file.frn }),
    linkCount: 1,
  });
}

export function listing(
  path: string,
  files: ReturnType<typeof fileRecord>[],
  rest: { complete?: boolean; more?: boolean; unreadableReason?: string } = {},
) {
  const { complete = true, more = false, unreadableReason = "" } = rest;
  return create(DirectoryListingSchema, { path: Buffer.from(path), listTime: timestampNow(), files, complete, more, unreadableReason });
}

export function chunkOf(chunkNo: bigint | number, directories: ReturnType<typeof listing>[]): Chunk {
  return create(ChunkSchema, { chunkNo: BigInt(chunkNo), directories, resumeToken: Buffer.from(`token ${chunkNo}`) });
}

/** The tree as chunks of a random cut: small and large, directories split over several. `unreadable` ones come without content. */
export function treeChunks(tree: FakeTree, random: Random, unreadable: ReadonlySet<string> = new Set()): Chunk[] {
  const chunks: Chunk[] = [];
  let listings: ReturnType<typeof listing>[] = [];
  const cut = () => {
    chunks.push(chunkOf(chunks.length, listings));
    listings = [];
  };
  for (const [path, files] of tree) {
    if (isBelow(path, unreadable)) continue;
    if (unreadable.has(path)) {
      listings.push(listing(path, [], { complete: false, unreadableReason: "EACCES: permission denied" }));
      continue;
    }
    const records = random.shuffle([...files]).map(([name, file]) => fileRecord(name, file));
    while (records.length > 1 && random.next() < 0.2) {
      listings.push(listing(path, records.splice(0, random.between(1, records.length - 1)), { more: true }));
      cut();
    }
    listings.push(listing(path, records));
    if (random.next() < 0.3) cut();
  }
  cut();
  return chunks;
}

/** The same, as if all had been listed at that time. */
export function listedAt(chunks: Chunk[], unixSeconds: number): Chunk[] {
  for (const { directories } of chunks) for (const directory of directories) directory.listTime = timestampFromMs(unixSeconds * 1000);
  return chunks;
}

function isBelow(path: string, roots: ReadonlySet<string>): boolean {
  return [...roots].some((root) => path.startsWith(root === "/" ? "/" : `${root}/`) && path !== root);
}
