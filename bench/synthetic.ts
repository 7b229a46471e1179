/** A made-up share: the same seed gives the same files. Directories hold about 30 files each and nest up to six deep. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Chunk, ChunkSchema, type DirectoryListingSchema, type FileRecordSchema } from "../src/gen/frostline/v1/scan_pb.js";

/** As agents send them: a chunk of some 256 KiB. */
const filesPerChunk = 5000;
/** Later than any time in the share, and before anything that an audit trail of it tells. */
export const listedUnix = 1_789_990_000;
const listTime = timestampFromMs(listedUnix * 1000);
const extensions = ["txt", "mxf", "jpg", "docx", "pdf", "wav", "prproj", "bin"];

export interface SyntheticFile {
  dirPath: string;
  name: string;
  sizeBytes: number;
  mtimeUnix: number;
  atimeUnix: number;
  ctimeUnix: number;
  frn: bigint;
}

export interface SyntheticOptions {
  files: number;
  seed?: number;
  /** Every n-th file has another size and mtime than without: a share of which 1/n has changed. */
  changeEvery?: number;
}

/** A small generator of 32-bit numbers (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Directory by directory, each of them once. */
export function* syntheticDirectories(options: SyntheticOptions): Generator<{ dirPath: string; files: SyntheticFile[] }> {
  const random = randomFrom(options.seed ?? 1);
  let made = 0;
  for (let dirNo = 0; made < options.files; dirNo += 1) {
    const dirPath = syntheticPath(dirNo);
    const count = Math.min(1 + Math.floor(random() * 60), options.files - made);
    const files: SyntheticFile[] = [];
    for (let at = 0; at < count; at += 1) files.push(syntheticFile(random, dirPath, made + at, options.changeEvery));
    made += count;
    yield { dirPath, files };
  }
}

function syntheticPath(dirNo: number): string {
  if (dirNo === 0) return "/";
  const digits = dirNo.toString(12);
  return `/${[...digits].map((digit, at) => `dept-${digit}-${at}-archive`).join("/")}`;
}

function syntheticFile(random: () => number, dirPath: string, fileNo: number, changeEvery: number | undefined): SyntheticFile {
  const changed = changeEvery !== undefined && fileNo % changeEvery === 0 ? 1 : 0;
  const mtimeUnix = 1_500_000_000 + Math.floor(random() * 250_000_000) + changed;
  return {
    dirPath,
    name: `file-${fileNo.toString(36).padStart(6, "0")}.${extensions[fileNo % extensions.length]}`,
    sizeBytes: Math.floor(random() ** 4 * 1e9) + changed,
    mtimeUnix,
    atimeUnix: mtimeUnix + Math.floor(random() * 10_000_000),
    ctimeUnix: mtimeUnix,
    frn: BigInt(fileNo + 1000),
  };
}

/** The share as an agent would send it. Chunk numbers count from 0. */
export function* syntheticChunks(options: SyntheticOptions): Generator<Chunk> {
  let directories: MessageInitShape<typeof DirectoryListingSchema>[] = [];
  let files = 0;
  let chunkNo = 0n;
  for (const { dirPath, files: own } of syntheticDirectories(options)) {
    directories.push({ path: Buffer.from(dirPath), listTime, complete: true, files: own.map(toRecord) });
    files += own.length;
    if (files < filesPerChunk) continue;
    yield toChunk(chunkNo++, directories);
    directories = [];
    files = 0;
  }
  if (directories.length > 0) yield toChunk(chunkNo, directories);
}

function toChunk(chunkNo: bigint, directories: MessageInitShape<typeof DirectoryListingSchema>[]): Chunk {
  return create(ChunkSchema, { chunkNo, directories, owners: ["1000"], resumeToken: directories.at(-1)?.path ?? new Uint8Array() });
}

function toRecord(file: SyntheticFile): MessageInitShape<typeof FileRecordSchema> {
  return {
    name: Buffer.from(file.name),
    sizeBytes: BigInt(file.sizeBytes),
    mtimeUnix: BigInt(file.mtimeUnix),
    atimeBeforeMtime: BigInt(file.mtimeUnix - file.atimeUnix),
    ctimeBeforeMtime: BigInt(file.mtimeUnix - file.ctimeUnix),
    frn: file.frn,
    allocatedBytes: BigInt(Math.ceil(file.sizeBytes / 4096) * 4096),
    linkCount: 1,
    ownerIndex: 1,
  };
}
