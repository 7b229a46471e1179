import { toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Chunk, ChunkSchema, type FileRecord } from "../gen/frostline/v1/scan_pb.js";
import { toChunks } from "./chunker.js";
import type { FileEntry, LeftOutEntry, Listing } from "./listing.js";

/** A directory as it is known in the end, whatever parts it came in. */
interface Whole {
  path: string;
  listTimeMs: number;
  files: FileEntry[];
  leftOut: LeftOutEntry[];
  complete: boolean;
  unreadableReason: string;
}

const int64 = fc.bigInt(-(2n ** 40n), 2n ** 40n);
const file: fc.Arbitrary<FileEntry> = fc.record({
  name: fc.uint8Array({ minLength: 1, maxLength: 60 }),
  sizeBytes: fc.bigInt(0n, 2n ** 64n - 1n),
  atimeUnix: int64,
  mtimeUnix: int64,
  ctimeUnix: int64,
  frn: fc.option(fc.bigInt(0n, 2n ** 64n - 1n), { nil: undefined }),
  allocatedBytes: fc.option(fc.bigInt(0n, 2n ** 64n - 1n), { nil: undefined }),
  linkCount: fc.nat(5),
  owner: fc.constantFrom("", "0", "1000", "S-1-5-21"),
  fileHash: fc.constantFrom(new Uint8Array(), new Uint8Array(32).fill(7)),
});
const leftOut = fc.record({ name: fc.uint8Array({ minLength: 1, maxLength: 20 }), reason: fc.string({ minLength: 1, maxLength: 20 }) });

/** A directory, and the sizes of the parts it comes in. */
const directory = fc.record({
  files: fc.array(file, { maxLength: 40 }),
  leftOut: fc.array(leftOut, { maxLength: 3 }),
  partFiles: fc.integer({ min: 1, max: 15 }),
  unreadableReason: fc.constantFrom("", "", "EACCES: permission denied"),
});

function partsOf(whole: Whole, partFiles: number): Listing[] {
  const parts: Listing[] = [];
  const base = { path: Buffer.from(whole.path), listTimeMs: whole.listTimeMs };
  for (let from = 0; from === 0 || from < whole.files.length; from += partFiles) {
    const more = from + partFiles < whole.files.length;
    const last = { complete: !more && whole.complete, unreadableReason: more ? "" : whole.unreadableReason };
    parts.push({ ...base, files: whole.files.slice(from, from + partFiles), leftOut: from === 0 ? whole.leftOut : [], more, ...last });
  }
  return parts;
}

async function collect(listings: Listing[], targetBytes: number): Promise<Chunk[]> {
  const chunks: Chunk[] = [];
  for await (const chunk of toChunks(
    (async function* () {
      yield* listings;
    })(),
    { targetBytes },
  )) {
    chunks.push(chunk);
  }
  return chunks;
}

/** What a server would make of the chunks; fails when parts of a directory don't follow each other. */
function reassemble(chunks: Chunk[]): Whole[] {
  const found: Whole[] = [];
  let open = false;
  for (const { directories, owners } of chunks) {
    for (const listing of directories) {
      const path = Buffer.from(listing.path).toString();
      if (open) expect(path).toBe(found.at(-1)?.path);
      else found.push({ path, listTimeMs: 0, files: [], leftOut: [], complete: false, unreadableReason: "" });
      const whole = found.at(-1) as Whole;
      whole.listTimeMs = Number(listing.listTime?.seconds ?? 0n) * 1000 + (listing.listTime?.nanos ?? 0) / 1e6;
      whole.files.push(...listing.files.map((record) => fromRecord(record, owners)));
      whole.leftOut.push(...listing.leftOut.map(({ name, reason }) => ({ name, reason })));
      whole.complete = listing.complete;
      whole.unreadableReason = listing.unreadableReason;
      open = listing.more;
    }
  }
  expect(open).toBe(false);
  return found;
}

function fromRecord(record: FileRecord, owners: string[]): FileEntry {
  return {
    name: record.name,
    sizeBytes: record.sizeBytes,
    atimeUnix: record.mtimeUnix - record.atimeBeforeMtime,
    mtimeUnix: record.mtimeUnix,
    ctimeUnix: record.mtimeUnix - record.ctimeBeforeMtime,
    frn: record.frn,
    allocatedBytes: record.allocatedBytes,
    linkCount: record.linkCount,
    owner: record.ownerIndex === 0 ? "" : (owners[record.ownerIndex - 1] as string),
    fileHash: record.fileHash,
  };
}

test("chunks hold exactly the listings, each is bounded, and its token is the last whole directory", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(directory, { maxLength: 30 }), fc.integer({ min: 200, max: 6000 }), async (directories, targetBytes) => {
      const wholes: Whole[] = directories.map(({ files, leftOut: left, unreadableReason }, i) => {
        return {
          path: `/d${i}`,
          listTimeMs: 1_700_000_000_000 + i,
          files,
          leftOut: left,
          complete: unreadableReason === "",
          unreadableReason,
        };
      });
      const listings = directories.flatMap(({ partFiles }, i) => partsOf(wholes[i] as Whole, partFiles));
      const chunks = await collect(listings, targetBytes);
      expect(reassemble(chunks)).toEqual(wholes);
      let lastWhole = "";
      for (const chunk of chunks) {
        for (const { path, more } of chunk.directories) if (!more) lastWhole = Buffer.from(path).toString();
        expect(Buffer.from(chunk.resumeToken).toString()).toBe(lastWhole);
        // The estimate is at most half of the truth, and one record goes over the edge.
        expect(toBinary(ChunkSchema, chunk).length).toBeLessThanOrEqual(2 * targetBytes + 400);
      }
    }),
    { numRuns: 300 },
  );
});

test("small directories share a chunk; a large one begins with a chunk of its own, so that resuming never splits one", async () => {
  const entry: FileEntry = {
    name: Buffer.from("a name of usual length.dat"),
    sizeBytes: 1n,
    atimeUnix: 0n,
    mtimeUnix: 0n,
    ctimeUnix: 0n,
    frn: undefined,
    allocatedBytes: undefined,
    linkCount: 1,
    owner: "",
    fileHash: new Uint8Array(),
  };
  const whole = (path: string, files: number): Whole => {
    return { path, listTimeMs: 1, files: Array.from({ length: files }, () => entry), leftOut: [], complete: true, unreadableReason: "" };
  };
  const listings = [
    ...partsOf(whole("/a", 3), 100),
    ...partsOf(whole("/b", 3), 100),
    ...partsOf(whole("/large", 250), 100),
    ...partsOf(whole("/z", 1), 100),
  ];
  const chunks = await collect(listings, 4000);
  const shape = chunks.map(({ directories }) => directories.map(({ path, more }) => `${Buffer.from(path)}${more ? "+" : ""}`).join(" "));
  expect(shape[0]).toBe("/a /b");
  expect(shape.slice(1, -1).every((one) => one === "/large+")).toBe(true);
  expect(shape.at(-1)).toBe("/large /z");
  expect(chunks.map(({ resumeToken }) => Buffer.from(resumeToken).toString())).toEqual(["/b", ...shape.slice(1, -1).map(() => "/b"), "/z"]);
});

test("before a directory is whole, the token is where the walk resumed", async () => {
  const [first] = await collectFrom("/before");
  expect(Buffer.from(first?.resumeToken ?? "").toString()).toBe("/before");
});

async function collectFrom(resumeAfter: string): Promise<Chunk[]> {
  const entry = { name: Buffer.alloc(200, 97), reason: "EIO" };
  async function* listings(): AsyncGenerator<Listing> {
    yield {
      path: Buffer.from("/d"),
      listTimeMs: 1,
      files: [],
      leftOut: Array.from({ length: 10 }, () => entry),
      more: false,
      complete: true,
      unreadableReason: "",
    };
  }
  const chunks: Chunk[] = [];
  for await (const chunk of toChunks(listings(), { targetBytes: 500, resumeAfter: Buffer.from(resumeAfter) })) chunks.push(chunk);
  return chunks;
}
