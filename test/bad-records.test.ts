/** Records and listings that can't be stored: refused one by one, with index and reason, and the rest of the chunk is taken. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ScanStatus } from "../src/gen/frostline/v1/scan_pb.js";
import { SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { chunk, type File, file, type Listing, listing, openStreams, type Streams } from "./support/streams.js";

let streams: Streams;
beforeAll(async () => {
  streams = await openStreams();
});
afterAll(() => streams?.close());
afterEach(() => streams.assertSound());

const int64Max = 2n ** 63n - 1n;
const earliest = -62_135_596_800n;
const latest = 253_402_300_799n;

/** A chunk with good records around the bad ones, in two directories; the second scan of a share that has `victim`. */
async function pushAround(bad: File[], options: { owners?: string[]; sourceType?: SourceType } = {}) {
  const { owners = ["me"], sourceType = SourceType.LUCIDLINK } = options;
  const shareName = await streams.newShare({ sourceType });
  const first = await streams.start(shareName);
  await streams.push(first, [chunk(0, [listing("/b", [file("victim", 7n)])])]);
  await streams.finish(first, { main: 1n });
  const before = await streams.stored(shareName);
  const scanId = await streams.start(shareName);
  const directories = [listing("/a", [file("one", 1n)]), listing("/b", [file("two", 2n), ...bad, file("three", 3n)])];
  const answer = await streams.push(scanId, [chunk(0, [listing("/")]), chunk(1, directories, { owners })]);
  return { shareName, scanId, answer, before };
}

describe("a record with values that can't be stored is refused, and the file of its name stays as it was", () => {
  test.each<[string, File, RegExp]>([
    ["a size of 2^63", { sizeBytes: int64Max + 1n }, /^size_bytes is 9223372036854775808; the most is 2\^63-1$/],
    ["a size of 2^64-1", { sizeBytes: 2n ** 64n - 1n }, /^size_bytes is 18446744073709551615;/],
    ["an allocated size of 2^63", { allocatedBytes: int64Max + 1n }, /^allocated_bytes is 9223372036854775808;/],
    ["more links than an integer holds", { linkCount: 2 ** 31 }, /^link_count is 2147483648;/],
    ["an mtime before the year 1", { mtimeUnix: earliest - 1n }, /^mtime_unix is -62135596801 s, outside the years 0001 to 9999$/],
    ["an mtime after the year 9999", { mtimeUnix: latest + 1n }, /^mtime_unix is 253402300800 s/],
    ["the least mtime there is", { mtimeUnix: -int64Max - 1n }, /^mtime_unix is -92233720368547\d{5} s/],
    ["the greatest mtime there is", { mtimeUnix: int64Max }, /^mtime_unix is 92233720368547\d{5} s/],
    ["an atime after the year 9999", { mtimeUnix: latest, atimeBeforeMtime: -1n }, /^atime is 253402300800 s/],
    ["an atime before the year 1", { mtimeUnix: earliest, atimeBeforeMtime: 1n }, /^atime is -62135596801 s/],
    ["an atime beyond 64 bits", { atimeBeforeMtime: -int64Max }, /^atime is 92233720385\d{8} s/],
    ["a ctime after the year 9999", { mtimeUnix: latest, ctimeBeforeMtime: -1n }, /^ctime is 253402300800 s/],
    ["a ctime before the year 1", { mtimeUnix: 0n, ctimeBeforeMtime: int64Max }, /^ctime is -92233720368547\d{5} s/],
    ["an owner that the chunk does not have", { ownerIndex: 5 }, /^owner_index is 5, but the chunk has 3 owners$/],
    ["an owner with a NUL", { ownerIndex: 2 }, /owner.*NUL/],
    ["an owner too long", { ownerIndex: 3 }, /owner.*(256|too long)/],
    ["a hash too short", { fileHash: Buffer.alloc(31) }, /^file_hash has 31 bytes; SHA-256 has 32$/],
    ["a hash too long", { fileHash: Buffer.alloc(33) }, /^file_hash has 33 bytes/],
  ])("%s", async (_, values, reason) => {
    const owners = ["me", "a\0b", "o".repeat(257)];
    const { shareName, scanId, answer, before } = await pushAround([file("victim", 9n, values)], { owners });
    const problem = {
      chunkNo: 1n,
      recordIndex: 2,
      dirPath: "/b",
      name: "victim",
      reason: expect.stringMatching(reason),
      unreadable: false,
    };
    expect(answer).toMatchObject({ nextChunkNo: 2n, problems: [problem] });
    expect(await streams.problems(scanId)).toEqual([expect.stringContaining("1/2 /b victim: ")]);
    expect(await streams.finish(scanId, { main: 2n })).toMatchObject({
      status: ScanStatus.WARN,
      counts: { refused: 1n, files: 3n, added: 3n, changed: 0n, removed: 0n },
    });
    const stored = await streams.stored(shareName);
    expect(stored).toMatchObject({ files: ["/a/one 1", "/b/three 3", "/b/two 2", "/b/victim 7"], versions: before.versions + 3 });
  });
});

describe("a record with a name that can't be stored is refused", () => {
  test.each<[string, Uint8Array, string, string, SourceType?]>([
    ["empty", Buffer.from(""), "", "the name is empty"],
    ["of 1,021 bytes", Buffer.from("n".repeat(1021)), `${"n".repeat(1020)}…`, "the name has 1021 bytes; the most is 1020"],
    ["with NUL", Buffer.from("a\0b"), "a\\x00b", "the name contains a NUL byte"],
    ["with a slash", Buffer.from("a/b"), "a/b", "the name contains a separator (/)"],
    ["with a backslash, on NTFS", Buffer.from("a\\b"), "a\\b", "the name contains a separator (\\)", SourceType.NTFS],
    ["with a backslash, on SMB", Buffer.from("a\\b"), "a\\b", "the name contains a separator (\\)", SourceType.SMB],
    [".", Buffer.from("."), ".", "the name is . or .."],
    ["..", Buffer.from(".."), "..", "the name is . or .."],
    ["not UTF-8", Buffer.from([0x61, 0xff, 0xc3, 0x62]), "a\\xff\\xc3b", "the name is not UTF-8"],
    ["a lone surrogate", Buffer.from([0xed, 0xa0, 0x80]), "\\xed\\xa0\\x80", "the name is not UTF-8"],
  ])("%s", async (_, name, shown, reason, sourceType = SourceType.LUCIDLINK) => {
    const { shareName, scanId, answer } = await pushAround([file("victim", 7n), file(name)], { sourceType });
    expect(answer.problems).toMatchObject([{ chunkNo: 1n, recordIndex: 3, dirPath: "/b", name: shown, reason, unreadable: false }]);
    expect(await streams.finish(scanId, { main: 2n })).toMatchObject({ status: ScanStatus.WARN, counts: { refused: 1n, removed: 0n } });
    expect((await streams.stored(shareName)).files).toEqual(["/a/one 1", "/b/three 3", "/b/two 2", "/b/victim 7"]);
  });

  test("two names that have the same hash are two", async () => {
    const { shareName, answer } = await pushAround([file("victim", 7n), file("costarring", 4n), file("liquid", 5n)]);
    expect(answer.problems).toEqual([]);
    expect((await streams.stored(shareName)).files).toEqual(expect.arrayContaining(["/b/costarring 4", "/b/liquid 5"]));
  });

  test.each([
    ["in two parts of a listing", [[file("twice", 1n)], [file("twice", 2n)]]],
    ["once with a value that is refused", [[file("twice", 1n), file("twice", 2n, { mtimeUnix: int64Max })]]],
    ["among 20,001 names", [[...Array.from({ length: 20_000 }, (_, n) => file(`${n}`)), file("0", 9n)]]],
  ])("a name %s", async (_, parts) => {
    const shareName = await streams.newShare();
    const scanId = await streams.start(shareName);
    const listings = parts.map((files, n) => ({ ...listing("/d", files), more: n < parts.length - 1, complete: n === parts.length - 1 }));
    const { problems } = await streams.push(scanId, [
      chunk(0, listings.slice(0, 1)),
      ...listings.slice(1).map((part, n) => chunk(n + 1, [part])),
    ]);
    expect(problems.map(({ reason }) => reason)).toContain("the directory has this name twice; the first record counts");
    const { files } = await streams.stored(shareName);
    expect(files.filter((path) => path === "/d/twice 1" || path === "/d/0 1")).toHaveLength(1);
  });

  test("a name twice in a directory: the first record counts", async () => {
    const { shareName, scanId, answer } = await pushAround([file("victim", 7n), file("victim", 8n), file("two", 9n)]);
    const why = "the directory has this name twice; the first record counts";
    expect(answer.problems.map(({ name, reason }) => `${name}: ${reason}`).sort()).toEqual([`two: ${why}`, `victim: ${why}`]);
    expect(answer.problems).toMatchObject([
      { chunkNo: 1n, dirPath: "/b" },
      { chunkNo: 1n, dirPath: "/b" },
    ]);
    expect(await streams.finish(scanId, { main: 2n })).toMatchObject({ status: ScanStatus.WARN, counts: { refused: 2n } });
    expect((await streams.stored(shareName)).files).toEqual(["/a/one 1", "/b/three 3", "/b/two 2", "/b/victim 7"]);
  });

  test("names and values at the very edge are taken", async () => {
    const longest = "é".repeat(510);
    const edges = [
      file(longest, int64Max, {
        allocatedBytes: int64Max,
        linkCount: 2 ** 31 - 1,
        ownerIndex: 1,
        fileHash: Buffer.alloc(32, 1),
        frn: 2n ** 64n - 1n,
      }),
      file("...", 0n, { mtimeUnix: earliest, atimeBeforeMtime: 0n, ctimeBeforeMtime: earliest - latest }),
      file("a\\b", 0n, { mtimeUnix: latest, atimeBeforeMtime: latest - earliest, ctimeBeforeMtime: 0n }),
    ];
    const { shareName, scanId, answer } = await pushAround([file("victim", 7n), ...edges], { owners: ["o".repeat(256)] });
    expect(answer.problems).toEqual([]);
    expect(await streams.finish(scanId, { main: 2n })).toMatchObject({ status: ScanStatus.OK });
    const { files } = await streams.stored(shareName);
    expect(files).toContain(`/b/${longest} ${int64Max}`);
    expect(files).toHaveLength(7);
  });
});

test("several bad records in a chunk are each told of, at their places", async () => {
  const { scanId } = await pushAround([file(""), file("x", 2n ** 63n), file("victim"), file("..")]);
  expect((await streams.problems(scanId)).map((problem) => problem.split(" ")[0])).toEqual(["1/2", "1/3", "1/5"]);
});

test("what an agent left out is told of, and stays as it was", async () => {
  const shareName = await streams.newShare();
  const first = await streams.start(shareName);
  await streams.push(first, [chunk(0, [listing("/", [file("locked", 7n)])])]);
  await streams.finish(first, { main: 1n });
  const scanId = await streams.start(shareName);
  const leftOut = [
    { name: Buffer.from("locked"), reason: "EACCES\0 of some kind" },
    { name: Buffer.from([0xff]), reason: "no name" },
  ];
  await streams.push(scanId, [chunk(0, [listing("/", [file("x")], { leftOut })])]);
  expect(await streams.problems(scanId)).toEqual(["0/-1 / locked: EACCES\\x00 of some kind", "0/-1 / \\xff: no name"]);
  expect(await streams.finish(scanId, { main: 1n })).toMatchObject({ status: ScanStatus.WARN, counts: { removed: 0n, refused: 2n } });
  expect((await streams.stored(shareName)).files).toEqual(["/locked 7", "/x 1"]);
});

describe("a listing with a path that can't be is refused whole", () => {
  const long = `/${"d".repeat(1021)}`;
  test.each<[string, Uint8Array, RegExp]>([
    ["outside the root", Buffer.from("/../etc"), /outside the root/],
    ["out of the root and in again", Buffer.from("/a/../b"), /outside the root/],
    ["with a dot", Buffer.from("/a/./b"), /normal form/],
    ["relative", Buffer.from("a/b"), /does not start with \//],
    ["empty", Buffer.from(""), /does not start with \//],
    ["with a double slash", Buffer.from("/a//b"), /empty component/],
    ["with a slash at its end", Buffer.from("/a/"), /empty component/],
    ["with NUL", Buffer.from("/a\0b"), /NUL/],
    ["not UTF-8", Buffer.from([0x2f, 0xff]), /not UTF-8/],
    ["with too long a name", Buffer.from(long), /component.*1020 bytes/],
    ["too long", Buffer.from(`/${"ab/".repeat(32_767)}c`), /the most is 98301/],
    ["too deep", Buffer.from(`${"/d".repeat(1000)}/e`), /the path has 1001 components; the most is 1000$/],
  ])("%s", async (_, path, reason) => {
    const shareName = await streams.newShare();
    const scanId = await streams.start(shareName);
    const bad: Listing = { ...listing("/", [file("x"), file("y")]), path };
    const answer = await streams.push(scanId, [chunk(0, [listing("/good", [file("a")]), bad, listing("/also good", [file("")])])]);
    expect(answer.problems).toMatchObject([
      { chunkNo: 0n, recordIndex: -1, name: "", reason: expect.stringMatching(reason), unreadable: false },
      // Records of the listing refused before it count.
      { chunkNo: 0n, recordIndex: 3, dirPath: "/also good", reason: "the name is empty" },
    ]);
    expect(await streams.finish(scanId, { main: 1n })).toMatchObject({
      status: ScanStatus.WARN,
      counts: { refused: 2n, directories: 2n, files: 1n },
    });
    expect((await streams.stored(shareName)).files).toEqual(["/good/a 1"]);
  });

  test("as deep as may be, a directory is taken, and one beside it; what they lie in is made in several transactions", async () => {
    const shareName = await streams.newShare();
    const scanId = await streams.start(shareName);
    const path = `/${"d".repeat(12)}`.repeat(1000);
    await streams.push(scanId, [chunk(0, [listing(path, [file("deep", 1n)]), listing(`${path.slice(0, -1)}e`, [file("beside", 2n)])])]);
    await streams.finish(scanId, { main: 1n });
    expect((await streams.stored(shareName)).files).toEqual([`${path}/deep 1`, `${path.slice(0, -1)}e/beside 2`]);
  });
});

describe("more than 10,000 refused records end the stream", () => {
  const bad = (count: number) => Array.from({ length: count }, () => file(""));
  const tooMany = { code: "RESOURCE_EXHAUSTED", reason: "TOO_MANY_PROBLEMS", retryDelayMs: expect.any(Number) };

  test("in one chunk: nothing of it is stored", async () => {
    const shareName = await streams.newShare();
    const scanId = await streams.start(shareName);
    const chunks = [chunk(0, [listing("/", [file("good"), ...bad(10_001)])])];
    await expect(streams.push(scanId, chunks)).rejects.toMatchObject(tooMany);
    expect(await streams.stored(shareName)).toEqual({ files: [], versions: 0, chunks: 0, problems: 0 });
  });

  test("over several: 10,000 are kept, and the answer has the first 1,000", async () => {
    const shareName = await streams.newShare();
    const scanId = await streams.start(shareName);
    const chunks = [0, 1].map((n) => chunk(n, [listing(`/d${n}`, [file("good"), ...bad(5000)])]));
    const answer = await streams.push(scanId, chunks);
    expect(answer.problems).toHaveLength(1000);
    expect(await streams.stored(shareName)).toMatchObject({ files: ["/d0/good 1", "/d1/good 1"], problems: 10_000 });
  });

  test("repeated names, which only the database finds, count as well", async () => {
    const scanId = await streams.start(await streams.newShare());
    const twice = Array.from({ length: 101 }, (_, n) => [file(`f${n}`), file(`f${n}`)]).flat();
    await expect(streams.push(scanId, [chunk(0, [listing("/", [...bad(9_900), ...twice])])])).rejects.toMatchObject(tooMany);
  });
});
