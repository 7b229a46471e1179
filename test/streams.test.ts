/** Streams out of order, repeated, fenced, too large or not Frostline's at all: the status that says so, nothing stored, and the server serves on. */
import * as grpc from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { toRpcError } from "../src/agent/rpc-error.js";
import { ScanService, ScanStatus } from "../src/gen/frostline/v1/scan_pb.js";
import { SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { segmentFiles } from "../src/ingest/limits.js";
import { withClient } from "./support/postgres.js";
import { seededRandom } from "./support/random.js";
import { startTestServer } from "./support/server.js";
import { chunk, file, listing, openStreams, type PushRequest, type Streams } from "./support/streams.js";
import { createTestTenant } from "./support/tenant.js";

const { pushScan, getScan, finishScan, abortScan, confirmBrake, listScanProblems } = ScanService.method;

let streams: Streams;
beforeAll(async () => {
  streams = await openStreams();
});
afterAll(() => streams?.close());
afterEach(() => streams.assertSound());

/** Nothing of a share but an empty root. */
const nothing = { files: [], versions: 0, chunks: 0, problems: 0 };

async function newScan(): Promise<{ shareName: string; scanId: bigint }> {
  const shareName = await streams.newShare();
  return { shareName, scanId: await streams.start(shareName) };
}

test("another tenant's scan does not exist, as one that nobody has", async () => {
  const { shareName, scanId } = await newScan();
  const { keys } = await createTestTenant(streams.server.database);
  const stranger = createClient({ server: streams.server.address, key: keys.admin });
  const calls = (id: bigint) => [
    streams.push(id, [chunk(0, [listing("/", [file("x")])])], { client: stranger }),
    stranger.unary(finishScan, { scanId: id, chunks: {} }),
    stranger.unary(getScan, { scanId: id }),
    stranger.unary(abortScan, { scanId: id }),
    stranger.unary(confirmBrake, { scanId: id }),
    stranger.unary(listScanProblems, { scanId: id }),
  ];
  const outcomes = async (id: bigint) =>
    (await Promise.allSettled(calls(id))).map((outcome) => (outcome.status === "rejected" ? outcome.reason : outcome.value));
  for (const id of [scanId, 1n << 60n]) {
    const message = `There is no scan ${id}.`;
    const expected = { code: "NOT_FOUND", reason: "SCAN_NOT_FOUND", message, metadata: { scan_id: String(id) } };
    expect(await outcomes(id)).toMatchObject(Array(6).fill(expected));
  }
  stranger.close();
  expect(await streams.stored(shareName)).toEqual(nothing);
  expect(await streams.get(scanId)).toMatchObject({ scan: { status: ScanStatus.RUNNING }, next: {} });
});

describe("chunk numbers", () => {
  test("a gap names the number to go on with, and what came before it is kept", async () => {
    const { shareName, scanId } = await newScan();
    const gap = (metadata: object) => ({ code: "OUT_OF_RANGE", reason: "CHUNK_GAP", metadata });
    await expect(streams.push(scanId, [chunk(3, [])])).rejects.toMatchObject(
      gap({ writer: "main", expected_chunk_no: "0", received_chunk_no: "3" }),
    );
    const a = listing("/a", [file("x", 10n)]);
    await expect(streams.push(scanId, [chunk(0, [a]), chunk(2, [listing("/b", [file("y")])])])).rejects.toMatchObject(
      gap({ writer: "main", expected_chunk_no: "1", received_chunk_no: "2" }),
    );
    expect(await streams.stored(shareName)).toMatchObject({ files: ["/a/x 10"], versions: 1, chunks: 1 });
    expect((await streams.get(scanId)).next).toEqual({ main: 1n });
    await expect(streams.push(scanId, [chunk(1, [listing("/c", [], { more: true })]), chunk(3, [])])).rejects.toMatchObject(
      gap({ writer: "main", expected_chunk_no: "1", received_chunk_no: "3" }),
    );
    expect(await streams.stored(shareName)).toMatchObject({ files: ["/a/x 10"], chunks: 1 });
  });

  test("a repeat is passed over and counted, whatever is in it", async () => {
    const { shareName, scanId } = await newScan();
    await streams.push(scanId, [chunk(0, [listing("/a", [file("x", 10n)])]), chunk(1, [listing("/b", [file("y", 20n)])])]);
    const others = [0, 1, 1].map((chunkNo) => chunk(chunkNo, [listing("/other", [file("z")])]));
    const answer = await streams.push(scanId, [...others, chunk(2, [listing("/c", [file("w", 30n)])]), chunk(2, [])]);
    expect(answer).toMatchObject({ nextChunkNo: 3n, repeatedChunks: 4n, problems: [] });
    expect((await streams.get(scanId)).scan.counts).toMatchObject({ repeatedChunks: 4n, files: 3n });
    expect(await streams.stored(shareName)).toMatchObject({ files: ["/a/x 10", "/b/y 20", "/c/w 30"], versions: 3, chunks: 3 });
  });

  test("a stream that tells another first number than the next ends before anything of it is read", async () => {
    const { shareName, scanId } = await newScan();
    await streams.push(scanId, [chunk(0, [listing("/a", [file("x", 10n)])])], { nextChunkNo: 0n });
    for (const nextChunkNo of [0n, 2n, -1n]) {
      await expect(streams.push(scanId, [chunk(1, [listing("/b", [file("y")])])], { nextChunkNo })).rejects.toMatchObject({
        code: "OUT_OF_RANGE",
        reason: "CHUNK_GAP",
        metadata: { expected_chunk_no: "1", received_chunk_no: String(nextChunkNo) },
      });
    }
    expect(await streams.stored(shareName)).toMatchObject({ files: ["/a/x 10"], chunks: 1 });
    expect(await streams.push(scanId, [chunk(1, [])], { nextChunkNo: 1n })).toMatchObject({ nextChunkNo: 2n });
  });
});

describe("a second stream of a writer fences the first", () => {
  test.each(["the same server", "another server"])("on %s", async (where) => {
    const { shareName, scanId } = await newScan();
    const other =
      where === "another server" ? await startTestServer({ database: streams.server.database, tenant: streams.tenant }) : undefined;
    const secondClient = createClient({ server: (other ?? streams.server).address, key: streams.tenant.keys.agent });
    const first = streams.client.clientStream(pushScan);
    await first.send({ message: { case: "open", value: { scanId, writer: "main" } } });
    await first.send({ message: { case: "chunk", value: chunk(0, [listing("/a", [file("x", 10n)])]) } });
    await expect.poll(async () => (await streams.get(scanId)).next, { timeout: 10_000 }).toEqual({ main: 1n });
    const answer = await streams.push(scanId, [chunk(1, [listing("/b", [file("second", 20n)])])], { client: secondClient });
    expect(answer).toMatchObject({ nextChunkNo: 2n, repeatedChunks: 0n });
    const late = async () => {
      await first.send({ message: { case: "chunk", value: chunk(1, [listing("/b", [file("first", 30n)])]) } });
      return first.finish();
    };
    await expect(late()).rejects.toMatchObject({ code: "ABORTED", reason: "WRITER_FENCED", metadata: { writer: "main" } });
    expect(await streams.stored(shareName)).toMatchObject({ files: ["/a/x 10", "/b/second 20"], versions: 2, chunks: 2 });
    secondClient.close();
    await other?.close();
  });

  test("even one that was refused for its number", async () => {
    const { shareName, scanId } = await newScan();
    const first = streams.client.clientStream(pushScan);
    await first.send({ message: { case: "open", value: { scanId, writer: "main" } } });
    await expect.poll(async () => (await streams.get(scanId)).next).toEqual({ main: 0n });
    await expect(streams.push(scanId, [], { nextChunkNo: 5n })).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    const late = async () => {
      await first.send({ message: { case: "chunk", value: chunk(0, [listing("/a", [file("x")])]) } });
      return first.finish();
    };
    await expect(late()).rejects.toMatchObject({ code: "ABORTED", reason: "WRITER_FENCED" });
    expect(await streams.stored(shareName)).toEqual(nothing);
  });
});

describe("a directory listed twice in a scan: the first counts, the second is refused", () => {
  const first = listing("/a", [file("x", 10n)]);
  const second = listing("/a", [file("y", 20n)]);

  const before = "this scan has listed the directory before";

  async function expectFirst(shareName: string, scanId: bigint, chunks: Record<string, bigint>, at: string, why = before) {
    expect(await streams.problems(scanId)).toEqual([`${at} /a : listing refused: ${why}`]);
    expect(await streams.finish(scanId, chunks)).toMatchObject({
      status: ScanStatus.WARN,
      counts: { refused: 1n, files: 1n, directories: 1n },
    });
    expect(await streams.stored(shareName)).toMatchObject({ files: ["/a/x 10"], versions: 1 });
  }

  test("within a chunk", async () => {
    const { shareName, scanId } = await newScan();
    const answer = await streams.push(scanId, [chunk(0, [first, second])]);
    expect(answer.problems).toMatchObject([{ chunkNo: 0n, recordIndex: -1, dirPath: "/a", unreadable: false }]);
    await expectFirst(shareName, scanId, { main: 1n }, "0/-1", "the chunk lists this directory twice");
  });

  test("within a segment", async () => {
    const { shareName, scanId } = await newScan();
    await streams.push(scanId, [chunk(0, [first]), chunk(1, [second])]);
    await expectFirst(shareName, scanId, { main: 2n }, "1/-1");
  });

  test("over two streams", async () => {
    const { shareName, scanId } = await newScan();
    await streams.push(scanId, [chunk(0, [first])]);
    await streams.push(scanId, [chunk(1, [second])]);
    await expectFirst(shareName, scanId, { main: 2n }, "1/-1");
  });

  test("by two writers", async () => {
    const { shareName, scanId } = await newScan();
    await streams.push(scanId, [chunk(0, [first])], { writer: "one" });
    await streams.push(scanId, [chunk(0, [second])], { writer: "two" });
    await expectFirst(shareName, scanId, { one: 1n, two: 1n }, "0/-1");
  });

  test("under a name that differs in case, where case does not count", async () => {
    const shareName = await streams.newShare({ sourceType: SourceType.NTFS });
    const scanId = await streams.start(shareName);
    await streams.push(scanId, [chunk(0, [listing("/Ab", [file("x", 10n)])]), chunk(1, [listing("\\aB", [file("y")])])]);
    expect(await streams.problems(scanId)).toEqual(["1/-1 /aB : listing refused: this scan has listed the directory before"]);
    expect((await streams.stored(shareName)).files).toEqual(["/Ab/x 10"]);
  });
});

describe("messages", () => {
  const open = (scanId: bigint, writer = "main"): PushRequest => ({ message: { case: "open", value: { scanId, writer } } });
  const some = (chunkNo = 0): PushRequest => ({ message: { case: "chunk", value: chunk(chunkNo, [listing("/", [file("x")])]) } });

  test.each([
    ["a chunk before `open`", () => [some()], "OPEN_MISSING"],
    ["no message at all", () => [], "OPEN_MISSING"],
    ["an empty message first", () => [{}], "OPEN_MISSING"],
    ["a second `open`", (id: bigint) => [open(id), some(), open(id)], "CHUNK_MISSING"],
    ["an empty message later", (id: bigint) => [open(id), some(), {}], "CHUNK_MISSING"],
    ["a writer without a name", (id: bigint) => [open(id, "")], "BAD_WRITER"],
    ["a writer with too long a name", (id: bigint) => [open(id, "w".repeat(101))], "BAD_WRITER"],
    ["a writer with NUL in its name", (id: bigint) => [open(id, "a\0b")], "BAD_WRITER"],
  ] satisfies [string, (id: bigint) => PushRequest[], string][])("%s", async (_, messages, reason) => {
    const { shareName, scanId } = await newScan();
    await expect(streams.pushRaw(messages(scanId))).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason });
    expect(await streams.stored(shareName)).toEqual(nothing);
  });

  test("too many writers", async () => {
    const { scanId } = await newScan();
    for (let n = 0; n < 64; n++) await streams.push(scanId, [], { writer: `w${n}` });
    await expect(streams.push(scanId, [], { writer: "one more" })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "TOO_MANY_WRITERS",
    });
    await streams.push(scanId, [], { writer: "w63" });
  });

  test("a stream that ends inside a directory", async () => {
    const { shareName, scanId } = await newScan();
    const part = chunk(0, [listing("/a", [file("x")], { more: true })]);
    await expect(streams.push(scanId, [part])).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "LISTING_NOT_ENDED",
      message: expect.stringContaining('"/a"'),
    });
    expect(await streams.stored(shareName)).toEqual(nothing);
    expect((await streams.get(scanId)).next).toEqual({ main: 0n });
  });

  test("one over 4 MiB", async () => {
    const { shareName, scanId } = await newScan();
    const large = chunk(0, [listing("/", [file("x")])], { resumeToken: Buffer.alloc(4 * 1024 * 1024) });
    await expect(streams.push(scanId, [large])).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      reason: "MESSAGE_TOO_LARGE",
      retryDelayMs: expect.any(Number),
    });
    expect(await streams.stored(shareName)).toEqual(nothing);
  });
});

describe("bytes that are no message", () => {
  /** A stream of payloads as they are; rejects with what the server said. */
  async function sendBytes(payloads: Uint8Array[]): Promise<void> {
    const channel = new grpc.Client(streams.server.address, grpc.credentials.createInsecure());
    const metadata = new grpc.Metadata();
    metadata.set("authorization", `Bearer ${streams.tenant.keys.agent}`);
    try {
      await new Promise<void>((resolve, reject) => {
        const call = channel.makeClientStreamRequest(
          "/frostline.v1.ScanService/PushScan",
          (bytes: Uint8Array) => Buffer.from(bytes),
          (bytes) => bytes,
          metadata,
          (error) => (error === null ? resolve() : reject(toRpcError(error))),
        );
        call.on("error", () => {});
        for (const payload of payloads) call.write(payload);
        call.end();
      });
    } finally {
      channel.close();
    }
  }

  /** `open` of a scan, as bytes. */
  function openBytes(scanId: bigint): Buffer {
    const value = Buffer.concat([Buffer.from([0x08]), varint(scanId), Buffer.from([0x12, 4]), Buffer.from("main")]);
    return Buffer.concat([Buffer.from([0x0a, value.length]), value]);
  }

  function varint(value: bigint): Buffer {
    const bytes: number[] = [];
    for (let rest = value; ; rest >>= 7n) {
      bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
      if (rest <= 0x7fn) return Buffer.from(bytes);
    }
  }

  test.each([
    ["a field cut off", [0x12, 0x7f, 0x01]],
    ["a number without end", Array(12).fill(0xff)],
    ["a group that never ends", [0x13]],
    ["field number 0", [0x02, 0x00]],
    ["a chunk cut off inside a record", [0x12, 6, 0x1a, 4, 0x1a, 9, 0x0a, 1]],
    ["a chunk with a number cut off", [0x12, 2, 0x08, 0xff]],
  ])("%s", async (_, bytes) => {
    const { shareName, scanId } = await newScan();
    await expect(sendBytes([Buffer.from(bytes)])).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(sendBytes([openBytes(scanId), Buffer.from(bytes)])).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(await streams.stored(shareName)).toEqual(nothing);
  });

  test("at random, as messages and as chunks: refused, or taken as what they happen to say", async () => {
    const random = seededRandom();
    const bytes = () => Buffer.from(Array.from({ length: random.between(1, 60) }, () => random.between(0, 255)));
    for (let round = 0; round < 60; round++) {
      const { scanId } = await newScan();
      const garbage = bytes();
      const payload = round % 2 === 0 ? garbage : Buffer.concat([Buffer.from([0x12, garbage.length]), garbage]);
      const error = await sendBytes([openBytes(scanId), payload]).catch((e: unknown) => e);
      if (error !== undefined) expect(error).toMatchObject({ code: expect.stringMatching(/^(INVALID_ARGUMENT|OUT_OF_RANGE)$/) });
    }
  });
});

test("while nothing can be merged two segments of a stream are on their way, and no third is begun", { timeout: 60_000 }, async () => {
  const { shareName, scanId } = await newScan();
  // Each of them is a segment.
  const chunks = Array.from({ length: 5 }, (_, no) =>
    chunk(no, [
      listing(
        `/d${no}`,
        Array.from({ length: segmentFiles }, (_, n) => file(`f${n}`, 1n)),
      ),
    ]),
  );
  const inFlight = async () => Number(/^frostline_segments_in_flight (\d+)/m.exec((await streams.server.metrics.read()).text)?.[1]);
  let pushed: Promise<unknown> | undefined;
  await withClient(streams.server.database.superuserUrl, async (holder) => {
    await holder.query("BEGIN");
    await holder.query("SELECT pg_advisory_xact_lock(hashtextextended('share ' || share_id, 0)) FROM share WHERE share_name = $1", [
      shareName,
    ]);
    pushed = streams.push(scanId, chunks);
    await expect.poll(inFlight, { timeout: 30_000 }).toBe(2);
    // Time enough to read the others: each answer comes after what the server does meanwhile.
    for (let n = 0; n < 100; n++) {
      await streams.get(scanId);
      expect(await inFlight()).toBe(2);
    }
    await holder.query("ROLLBACK");
  });
  await pushed;
  expect(await streams.finish(scanId, { main: 5n })).toMatchObject({ counts: { files: BigInt(5 * segmentFiles) } });
});
