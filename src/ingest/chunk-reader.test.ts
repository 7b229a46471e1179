/** The reader against the generated decoder, on the same bytes. */
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DomainError } from "../errors.js";
import { type Chunk, ChunkSchema } from "../gen/frostline/v1/scan_pb.js";
import { type ChunkView, type ListingView, RecordReader, readChunk } from "./chunk-reader.js";

const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
/** What a time, and the difference of two, can be and still be exact. */
const seconds = fc.bigInt({ min: -(2n ** 40n), max: 2n ** 40n });
const bytes = fc.uint8Array({ maxLength: 40 });
const text = fc.string({ unit: "binary", maxLength: 20 });

const record = fc.record(
  {
    name: bytes,
    sizeBytes: uint64,
    mtimeUnix: seconds,
    atimeBeforeMtime: seconds,
    ctimeBeforeMtime: seconds,
    frn: uint64,
    allocatedBytes: uint64,
    linkCount: fc.nat({ max: 2 ** 31 }),
    ownerIndex: fc.nat({ max: 300 }),
    fileHash: bytes,
  },
  { requiredKeys: [] },
);
const listing = fc.record(
  {
    path: bytes,
    listTime: fc.record({ seconds: fc.bigInt({ min: -(2n ** 33n), max: 2n ** 33n }), nanos: fc.nat({ max: 999_999_999 }) }),
    files: fc.array(record, { maxLength: 8 }),
    more: fc.boolean(),
    complete: fc.boolean(),
    unreadableReason: text,
    leftOut: fc.array(fc.record({ name: bytes, reason: text }), { maxLength: 3 }),
  },
  { requiredKeys: [] },
);
const chunk = fc.record(
  {
    chunkNo: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    resumeToken: bytes,
    directories: fc.array(listing, { maxLength: 5 }),
    owners: fc.array(text, { maxLength: 4 }),
  },
  { requiredKeys: [] },
);

const encode = (message: MessageInitShape<typeof ChunkSchema>) => toBinary(ChunkSchema, create(ChunkSchema, message));
const join = (high: number, low: number) => (BigInt(high) << 32n) | BigInt(low);

/** All of a chunk that was read, in the form of `expected`. */
function contents(view: ChunkView) {
  return {
    chunkNo: view.chunkNo,
    resumeToken: [...view.resumeToken],
    owners: view.owners.map((owner) => Buffer.from(owner).toString()),
    directories: view.directories.map((directory) => ({ ...listingContents(directory), files: records(view, directory) })),
  };
}

function listingContents({ path, listTimeMs, more, complete, unreadableReason, leftOut, fileCount }: ListingView) {
  const left = leftOut.map(({ name, reason }) => ({ name: [...name], reason }));
  return { path: [...path], listTimeMs, more, complete, unreadableReason, leftOut: left, fileCount };
}

function records(view: ChunkView, directory: ListingView) {
  const reader = new RecordReader(view, directory);
  const found = [];
  while (reader.next()) {
    const { record: at } = reader;
    found.push({
      name: [...view.bytes.subarray(at.nameStart, at.nameEnd)],
      sizeBytes: join(at.sizeHigh, at.sizeLow),
      times: [at.mtimeUnix, at.atimeUnix, at.ctimeUnix],
      frn: at.hasFrn ? join(at.frnHigh, at.frnLow) : undefined,
      allocatedBytes: at.hasAllocated ? join(at.allocatedHigh, at.allocatedLow) : undefined,
      linkCount: at.linkCount,
      ownerIndex: at.ownerIndex,
      fileHash: [...view.bytes.subarray(at.hashStart, at.hashEnd)],
    });
  }
  return found;
}

function expected(message: Chunk) {
  return {
    chunkNo: message.chunkNo,
    resumeToken: [...message.resumeToken],
    owners: message.owners,
    directories: message.directories.map((directory) => ({
      path: [...directory.path],
      listTimeMs: directory.listTime && Number(directory.listTime.seconds) * 1000 + Math.trunc(directory.listTime.nanos / 1e6),
      more: directory.more,
      complete: directory.complete,
      unreadableReason: directory.unreadableReason,
      leftOut: directory.leftOut.map(({ name, reason }) => ({ name: [...name], reason })),
      fileCount: directory.files.length,
      files: directory.files.map((file) => ({
        name: [...file.name],
        sizeBytes: file.sizeBytes,
        times: [0n, file.atimeBeforeMtime, file.ctimeBeforeMtime].map((before) => Number(file.mtimeUnix - before)),
        frn: file.frn,
        allocatedBytes: file.allocatedBytes,
        linkCount: file.linkCount,
        ownerIndex: file.ownerIndex,
        fileHash: [...file.fileHash],
      })),
    })),
  };
}

describe("chunk reader", () => {
  test("reads what the generated decoder reads", () => {
    fc.assert(
      fc.property(chunk, (message) => {
        const encoded = encode(message);
        expect(contents(readChunk(encoded))).toEqual(expected(fromBinary(ChunkSchema, encoded)));
      }),
      { numRuns: 500 },
    );
  });

  test("bytes that were changed are read or INVALID_ARGUMENT; bytes that were cut off are that, or what the generated decoder reads", () => {
    let refused = 0;
    fc.assert(
      fc.property(chunk, fc.nat(), fc.nat({ max: 255 }), fc.boolean(), (message, place, byte, cut) => {
        const encoded = encode(message);
        const at = place % (encoded.length + 1);
        const broken = cut ? encoded.slice(0, at) : Uint8Array.from(encoded, (old, index) => (index === at ? byte : old));
        let read: ReturnType<typeof contents>;
        try {
          read = contents(readChunk(broken));
        } catch (error) {
          expect(error).toBeInstanceOf(DomainError);
          expect((error as DomainError).code).toBe("INVALID_ARGUMENT");
          refused += 1;
          return;
        }
        // A field of another wire type is passed over here, as the format wants; the generated decoder reads it all the same.
        if (cut) expect(read).toEqual(expected(fromBinary(ChunkSchema, broken)));
      }),
      { numRuns: 2000 },
    );
    expect(refused).toBeGreaterThan(100);
  });

  test.each([
    ["a number of eleven bytes", [0x08, ...Array(10).fill(0x80), 0x01]],
    ["a number of more than 64 bits", [0x08, ...Array(9).fill(0xff), 0x02]],
    ["a length beyond the end", [0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]],
    ["field number 0", [0x00, 0x01]],
    ["a group", [0x0b, 0x0c]],
    ["half a fixed number", [0x29, 0x01]],
  ])("%s is refused", (_, broken) => {
    expect(() => readChunk(Uint8Array.from(broken))).toThrow(DomainError);
  });

  test("fields that it does not know are passed over", () => {
    const unknown = [0xa0, 0x06, 0x07, 0xaa, 0x06, 0x02, 0x41, 0x42, 0xad, 0x06, 1, 2, 3, 4];
    expect(readChunk(Uint8Array.from([...unknown, 0x08, 0x05, ...unknown])).chunkNo).toBe(5n);
  });
});
