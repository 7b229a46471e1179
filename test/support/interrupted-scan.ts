/** Scans of a real tree that are interrupted, and what must be true of them in the end. */
import * as fs from "node:fs";
import * as path from "node:path";
import { expect } from "vitest";
import { toChunks } from "../../src/agent/chunker.js";
import { createClient } from "../../src/agent/client.js";
import { runScan, type ScanResult } from "../../src/agent/push.js";
import { walk } from "../../src/agent/walk.js";
import { createPools } from "../../src/db/pool.js";
import { type FileInfo, FileService } from "../../src/gen/frostline/v1/file_pb.js";
import { type Chunk, type Scan, ScanMode, ScanStatus } from "../../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../../src/gen/frostline/v1/share_pb.js";
import { verify } from "../../src/verify/verify.js";
import { expectNothingLeft } from "./nothing-left.js";
import { type TestDatabase, withClient } from "./postgres.js";
import type { Random } from "./random.js";
import type { TestServer } from "./server.js";
import { difference, findTree, witnessLines } from "./witness.js";

export const shareName = "tree";
/** Slow enough for several segments to be committed on the way. */
export const filesPerSecond = 12_000;

/** Some 24,000 files in nested directories, one of them with thousands. Names are long, so that there are many chunks. */
export function makeTree(root: string, random: Random): void {
  const directories = [root];
  for (let i = 0; i < 500; i++) {
    const parent = random.pick(directories.slice(-40));
    const directory = path.join(parent, `d${i}-${"x".repeat(random.between(0, 30))}`);
    if (directory.length > root.length + 400) continue;
    fs.mkdirSync(directory);
    directories.push(directory);
  }
  let made = 0;
  const addFiles = (directory: string, count: number) => {
    for (let i = 0; i < count; i++) {
      const file = path.join(directory, `f${made++}-${"y".repeat(random.between(0, 150))}.bin`);
      fs.writeFileSync(file, made % 10 === 0 ? Buffer.alloc(random.between(1, 5000)) : "");
      if (made % 10 === 1) fs.utimesSync(file, random.between(0, 2 ** 31), random.between(-(2 ** 31), 2 ** 33));
    }
  };
  addFiles(random.pick(directories), 5000);
  while (made < 24_000) addFiles(random.pick(directories), random.between(1, 80));
}

/** The tree by an independent program, as lines. */
export async function truthOf(root: string): Promise<string[]> {
  return witnessLines((await findTree(root)).files);
}

export async function createTreeShare(server: TestServer): Promise<void> {
  const client = createClient({ server: server.address, key: server.keys.operator });
  await client.unary(ShareService.method.createShare, { shareName, sourceType: SourceType.LUCIDLINK }).finally(client.close);
}

/** For each time the walk was begun: the position it was told, and the files it gave. */
export type Walks = { resumeAfter: Uint8Array | undefined; files: number }[];

export interface Agent {
  walks: Walks;
  /** Settles when the scan is over. */
  result: Promise<ScanResult>;
  /** The scan is over. */
  readonly ended: boolean;
}

/** The agent in this process: walks the tree with another chunk size each time it has to begin again. `slowness` divides the pace of the first walk. */
export function startAgent(server: TestServer, root: string, random: Random, slowness = 1): Agent {
  const client = createClient({ server: server.address, key: server.keys.agent });
  const walks: Walks = [];
  async function* source(resumeAfter: Uint8Array | undefined): AsyncGenerator<Chunk> {
    const count = { resumeAfter, files: 0 };
    walks.push(count);
    const maxFilesPerSecond = walks.length === 1 ? filesPerSecond / slowness : filesPerSecond;
    const targetBytes = random.between(4, 256) * 1024;
    for await (const chunk of toChunks(walk(root, { resumeAfter, maxFilesPerSecond }), { targetBytes, resumeAfter })) {
      for (const directory of chunk.directories) count.files += directory.files.length;
      yield chunk;
    }
  }
  const retry = { baseDelayMs: 50, maxDelayMs: 500, maxElapsedMs: 60_000 };
  let ended = false;
  const options = { shareName, mode: ScanMode.FULL, uniqueFrn: false, exactListTimes: true, source, resume: "auto", retry } as const;
  const result = runScan(client, options).finally(() => {
    ended = true;
    client.close();
  });
  // Awaited later: until then its failure is nobody's.
  result.catch(() => {});
  return {
    walks,
    result,
    get ended() {
      return ended;
    },
  };
}

/** What was committed of the first scan. */
export interface Committed {
  scanId: bigint;
  files: number;
  /** Ledger rows, each with the transaction that wrote it. */
  chunks: string[];
}

/** Undefined before it has begun. */
export async function committedSoFar(database: TestDatabase): Promise<Committed | undefined> {
  return withClient(database.superuserUrl, async (client) => {
    const { rows } = await client.query<{ scan_id: string; files: number; chunks: string[] }>(
      `SELECT s.scan_id, s.files_listed::integer AS files,
         ARRAY(SELECT concat_ws(' ', c.writer, c.chunk_no, c.xmin) FROM ingest_chunk c WHERE c.scan_id = s.scan_id ORDER BY c.chunk_no) AS chunks
       FROM scan s ORDER BY s.scan_id LIMIT 1`,
    );
    return rows[0] && { scanId: BigInt(rows[0].scan_id), files: rows[0].files, chunks: rows[0].chunks };
  });
}

/**
 * The scan is whole, was not begun anew, did nothing twice that was committed, what is stored is the truth, and nothing else is left. `crashed`: the
 * database was.
 */
export async function expectWhole(
  server: TestServer,
  scan: Scan,
  before: Committed | undefined,
  truth: string[],
  crashed = false,
): Promise<void> {
  expect(scan).toMatchObject({ status: ScanStatus.OK, counts: { files: BigInt(truth.length), refused: 0n, removed: 0n } });
  const after = await committedSoFar(server.database);
  expect(after?.scanId).toBe(scan.scanId);
  if (before !== undefined) {
    expect(scan.scanId).toBe(before.scanId);
    expect(after?.chunks.slice(0, before.chunks.length)).toEqual(before.chunks);
  }
  await expectTruth(server, scan.scanId, truth);
  await expectNothingLeft(server.database, { served: true, crashed });
}

/** A walk that resumes gives only what was not committed. */
export function expectResumed(walks: Walks, before: Committed | undefined, files: number): void {
  const committed = before?.files ?? 0;
  for (const { resumeAfter, files: given } of walks) {
    if (committed > 0) expect(resumeAfter).toBeDefined();
    expect(given).toBeLessThanOrEqual(files - committed);
  }
}

async function expectTruth(server: TestServer, scanId: bigint, truth: string[]): Promise<void> {
  const pools = createPools(server.database.runtimeUrl, { queryPoolMax: 1, ingestPoolMax: 1, onIdleError: () => {} });
  const violations = [];
  try {
    for await (const violation of verify(pools.query)) violations.push(violation);
  } finally {
    await pools.end();
  }
  expect(violations).toEqual([]);
  const same = { found: truth.length, unexpected: [], lacking: [] };
  expect(difference((await currentFiles(server)).map(lineOf), truth)).toEqual(same);
  expect(difference((await snapshot(server, scanId)).map(lineOf), truth)).toEqual(same);
}

async function currentFiles(server: TestServer): Promise<FileInfo[]> {
  const client = createClient({ server: server.address, key: server.keys.reader });
  const found: FileInfo[] = [];
  let pageToken = "";
  do {
    const page = await client.unary(FileService.method.listFiles, { shareName, pageSize: 10_000, pageToken });
    found.push(...page.files);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  client.close();
  return found;
}

async function snapshot(server: TestServer, scanId: bigint): Promise<FileInfo[]> {
  const client = createClient({ server: server.address, key: server.keys.reader });
  const found: FileInfo[] = [];
  for await (const { files } of client.serverStream(FileService.method.streamSnapshot, { scanId })) found.push(...files);
  client.close();
  return found;
}

function lineOf({ path: filePath, sizeBytes, mtimeUnix, allocatedBytes, linkCount }: FileInfo): string {
  return [filePath, sizeBytes, mtimeUnix, allocatedBytes, linkCount].join(" | ");
}
