/** A server, a share and streams to it by hand, for tests of what a client may get wrong. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect } from "vitest";
import { type Client, createClient } from "../../src/agent/client.js";
import { createPools } from "../../src/db/pool.js";
import {
  type Chunk,
  ChunkSchema,
  type DirectoryListingSchema,
  type FileRecordSchema,
  type PushScanRequestSchema,
  type PushScanResponse,
  type Scan,
  ScanMode,
  ScanService,
} from "../../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../../src/gen/frostline/v1/share_pb.js";
import { verify } from "../../src/verify/verify.js";
import { expectNothingLeft } from "./nothing-left.js";
import { createTestDatabase, withClient } from "./postgres.js";
import { type LocalServer, startTestServer } from "./server.js";
import { createTestTenant, type TestTenant } from "./tenant.js";

const { startScan, pushScan, finishScan, getScan, listScanProblems } = ScanService.method;

export type PushRequest = MessageInitShape<typeof PushScanRequestSchema>;
export type Listing = MessageInitShape<typeof DirectoryListingSchema>;
export type File = MessageInitShape<typeof FileRecordSchema>;

export interface PushOptions {
  client?: Client;
  writer?: string;
  nextChunkNo?: bigint;
}

export interface Streams {
  server: LocalServer;
  /** Acts with every scope. */
  client: Client;
  tenant: TestTenant;
  /** A share of its own for each test. */
  newShare(options?: { sourceType?: SourceType; brakePercent?: number }): Promise<string>;
  start(shareName: string, mode?: ScanMode): Promise<bigint>;
  /** One stream from `open` to its end. */
  push(scanId: bigint, chunks: Chunk[], options?: PushOptions): Promise<PushScanResponse>;
  /** Messages as they are, then the end. */
  pushRaw(messages: PushRequest[]): Promise<PushScanResponse>;
  finish(scanId: bigint, chunks: Record<string, bigint>): Promise<Scan>;
  get(scanId: bigint): Promise<{ scan: Scan; next: Record<string, bigint> }>;
  problems(scanId: bigint): Promise<string[]>;
  /** What a share has, as rows seen from outside. */
  stored(shareName: string): Promise<Stored>;
  /** The server serves on, everything stored is consistent, and nothing is left hanging. */
  assertSound(): Promise<void>;
  close(): Promise<void>;
}

export interface Stored {
  /** `path size`, of files that are there; sorted. */
  files: string[];
  /** Rows of history, of the ledger, and of problems. */
  versions: number;
  chunks: number;
  problems: number;
}

/** `env`: of the server, on top of the defaults. */
export async function openStreams(env: Record<string, string> = {}): Promise<Streams> {
  const database = await createTestDatabase();
  const tenant = await createTestTenant(database);
  const server = await startTestServer({ database, tenant, env });
  const client = createClient({ server: server.address, key: tenant.keys.admin });
  // To look from outside, as `frostline verify` does.
  const pools = createPools(database.runtimeUrl, { queryPoolMax: 1, ingestPoolMax: 1, onIdleError: () => {} });
  let shares = 0;
  const streams: Streams = {
    server,
    client,
    tenant,
    async newShare({ sourceType = SourceType.LUCIDLINK, brakePercent = 50 } = {}) {
      const shareName = `share ${++shares}`;
      await client.unary(ShareService.method.createShare, { shareName, sourceType, brakePercent });
      return shareName;
    },
    async start(shareName, mode = ScanMode.FULL) {
      const { scan } = await client.unary(startScan, { shareName, mode });
      return (scan as Scan).scanId;
    },
    push: (scanId, chunks, options = {}) => pushChunks(options.client ?? client, scanId, chunks, options),
    pushRaw: (messages) => pushMessages(client, messages),
    async finish(scanId, chunks) {
      const { scan } = await client.unary(finishScan, { scanId, chunks });
      return scan as Scan;
    },
    async get(scanId) {
      const { scan, writers } = await client.unary(getScan, { scanId });
      return { scan: scan as Scan, next: Object.fromEntries(writers.map(({ writer, nextChunkNo }) => [writer, nextChunkNo])) };
    },
    async problems(scanId) {
      const { problems } = await client.unary(listScanProblems, { scanId });
      return problems.map(({ chunkNo, recordIndex, dirPath, name, reason }) => `${chunkNo}/${recordIndex} ${dirPath} ${name}: ${reason}`);
    },
    stored: (shareName) => storedOf(database.superuserUrl, shareName),
    async assertSound() {
      const shareName = await streams.newShare();
      const scanId = await streams.start(shareName);
      await streams.push(scanId, [chunk(0, [listing("/", [file("good", 1n)])])]);
      expect(await streams.finish(scanId, { main: 1n })).toMatchObject({ counts: { added: 1n } });
      const violations = [];
      for await (const violation of verify(pools.query)) violations.push(violation);
      expect(violations).toEqual([]);
      await expectNothingLeft(database, { served: true, servers: [server] });
    },
    async close() {
      client.close();
      await pools.end();
      await server.close();
      await database.drop();
    },
  };
  return streams;
}

function pushChunks(client: Client, scanId: bigint, chunks: Chunk[], { writer = "main", nextChunkNo }: PushOptions) {
  const open = { scanId, writer, ...(nextChunkNo === undefined ? {} : { nextChunkNo }) };
  return pushMessages(client, [
    { message: { case: "open", value: open } },
    ...chunks.map((value): PushRequest => ({ message: { case: "chunk", value } })),
  ]);
}

async function pushMessages(client: Client, messages: PushRequest[]): Promise<PushScanResponse> {
  const stream = client.clientStream(pushScan);
  for (const message of messages) await stream.send(message);
  return stream.finish();
}

async function storedOf(url: string, shareName: string): Promise<Stored> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<Stored>(
      `SELECT
         ARRAY(SELECT CASE d.dir_path WHEN '/' THEN '' ELSE d.dir_path END || '/' || c.name || ' ' || c.size_bytes
           FROM file_current c JOIN dir d USING (tenant_id, dir_id)
           WHERE c.share_id = h.share_id AND c.missing_since_scan_id IS NULL ORDER BY 1) AS files,
         (SELECT count(*)::integer FROM file f WHERE f.share_id = h.share_id) AS versions,
         (SELECT count(*)::integer FROM ingest_chunk i JOIN scan s USING (tenant_id, scan_id) WHERE s.share_id = h.share_id) AS chunks,
         (SELECT count(*)::integer FROM scan_problem p JOIN scan s USING (tenant_id, scan_id) WHERE s.share_id = h.share_id) AS problems
       FROM share h WHERE h.share_name = $1`,
      [shareName],
    );
    return rows[0] as Stored;
  });
}

/** A good record; `rest` spoils it. */
export function file(name: string | Uint8Array, sizeBytes = 1n, rest: File = {}): File {
  return { name: typeof name === "string" ? Buffer.from(name) : name, sizeBytes, mtimeUnix: 1_700_000_000n, ...rest };
}

/** A listing that is complete, unless `rest` says otherwise. */
export function listing(path: string | Uint8Array, files: File[] = [], rest: Listing = {}): Listing {
  return { path: typeof path === "string" ? Buffer.from(path) : path, files, complete: rest.more !== true, ...rest };
}

export function chunk(chunkNo: number | bigint, directories: Listing[], rest: MessageInitShape<typeof ChunkSchema> = {}): Chunk {
  return create(ChunkSchema, { chunkNo: BigInt(chunkNo), directories, resumeToken: Buffer.from(`after ${chunkNo}`), ...rest });
}
