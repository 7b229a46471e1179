/** What a scan takes in which state: starting, finishing, aborting, and the brake. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { ScanMode, ScanService, ScanStatus } from "../src/gen/frostline/v1/scan_pb.js";
import { withClient } from "./support/postgres.js";
import { chunk, file, type Listing, listing, openStreams, type Streams } from "./support/streams.js";

const { startScan, pushScan, abortScan, confirmBrake } = ScanService.method;

let streams: Streams;
beforeAll(async () => {
  streams = await openStreams();
});
afterAll(() => streams?.close());
afterEach(() => streams.assertSound());

const ten = Array.from({ length: 10 }, (_, n) => file(`f${n}`, BigInt(n), { frn: BigInt(100 + n) }));
const paths = (dirPath: string, from = 0) => ten.slice(from).map((_, n) => `${dirPath}/f${from + n} ${from + n}`);

/** A share in which a scan has found ten files in /a. */
async function shareOfTen(brakePercent = 50): Promise<string> {
  const shareName = await streams.newShare({ brakePercent });
  const scanId = await streams.start(shareName);
  await streams.push(scanId, [chunk(0, [listing("/"), listing("/a", ten)])]);
  expect(await streams.finish(scanId, { main: 1n })).toMatchObject({ status: ScanStatus.OK, counts: { added: 10n } });
  return shareName;
}

/** As stored; null: it has not come near. */
async function limitOf(scanId: bigint): Promise<string | null> {
  return withClient(streams.server.database.superuserUrl, async (client) => {
    const { rows } = await client.query<{ brake_limit: string | null }>("SELECT brake_limit::text FROM scan WHERE scan_id = $1", [scanId]);
    return (rows[0] as { brake_limit: string | null }).brake_limit;
  });
}

describe("start", () => {
  test("while a scan runs: its id is told", async () => {
    const shareName = await streams.newShare();
    const scanId = await streams.start(shareName);
    await expect(streams.start(shareName, ScanMode.PARTIAL)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "SCAN_RUNNING",
      metadata: { scan_id: String(scanId) },
    });
    await streams.client.unary(abortScan, { scanId });
    expect(await streams.start(shareName)).toBeGreaterThan(scanId);
  });

  test("many at once: one scan, and all others are told of it", async () => {
    const shareName = await streams.newShare();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, () => streams.client.unary(startScan, { shareName, mode: ScanMode.FULL })),
    );
    const started = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value.scan?.scanId] : []));
    expect(started).toHaveLength(1);
    const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    expect(refused).toMatchObject(Array(7).fill({ reason: "SCAN_RUNNING", metadata: { scan_id: String(started[0]) } }));
  });
});

describe("a scan that takes no more", () => {
  const closed = (scanId: bigint, state: string) => ({
    code: "FAILED_PRECONDITION",
    reason: "SCAN_CLOSED",
    metadata: { scan_id: String(scanId), state },
  });
  const late = (scanId: bigint) => streams.push(scanId, [chunk(0, [listing("/late", [file("x")])])]);

  test("finished: chunks are refused, finishing again gives the same answer, aborting is refused", async () => {
    const shareName = await streams.newShare();
    const scanId = await streams.start(shareName);
    await streams.push(scanId, [chunk(0, [listing("/", [file("x", 5n)])])]);
    const finished = await streams.finish(scanId, { main: 1n });
    const before = await streams.stored(shareName);
    await expect(late(scanId)).rejects.toMatchObject(closed(scanId, "OK"));
    expect(await streams.finish(scanId, { main: 1n })).toEqual(finished);
    await expect(streams.client.unary(abortScan, { scanId })).rejects.toMatchObject(closed(scanId, "OK"));
    await expect(streams.client.unary(confirmBrake, { scanId })).rejects.toMatchObject(closed(scanId, "OK"));
    expect(await streams.stored(shareName)).toEqual(before);
  });

  test("two that finish it at once get one answer", async () => {
    const shareName = await shareOfTen(100);
    const scanId = await streams.start(shareName);
    await streams.push(scanId, [chunk(0, [listing("/")])]);
    const finish = () => streams.finish(scanId, { main: 1n });
    const [one, two] = await Promise.all([finish(), finish()]);
    expect(one).toEqual(two);
    expect(one).toMatchObject({ status: ScanStatus.OK, counts: { removed: 10n } });
    expect(await streams.stored(shareName)).toMatchObject({ files: [], versions: 20 });
  });

  test("abandoned: chunks and finishing are refused, what was committed stays, aborting again is nothing", async () => {
    const shareName = await streams.newShare();
    const scanId = await streams.start(shareName);
    await streams.push(scanId, [chunk(0, [listing("/", [file("x", 5n)])])]);
    await streams.client.unary(abortScan, { scanId });
    await expect(streams.push(scanId, [chunk(1, [listing("/late", [file("x")])])])).rejects.toMatchObject(closed(scanId, "ABANDONED"));
    await expect(streams.finish(scanId, { main: 1n })).rejects.toMatchObject(closed(scanId, "ABANDONED"));
    expect((await streams.client.unary(abortScan, { scanId })).scan).toMatchObject({ status: ScanStatus.ABANDONED });
    expect(await streams.stored(shareName)).toMatchObject({ files: ["/x 5"], versions: 1, chunks: 1 });
  });

  test("finishing: only another finish is taken", async () => {
    const shareName = await streams.newShare();
    const scanId = await streams.start(shareName);
    // As a server that died in the middle of FinishScan leaves it.
    await withClient(streams.server.database.superuserUrl, (client) =>
      client.query("UPDATE scan SET finishing_utc = now() WHERE scan_id = $1", [scanId]),
    );
    await expect(late(scanId)).rejects.toMatchObject(closed(scanId, "finishing"));
    expect(await streams.finish(scanId, {})).toMatchObject({ status: ScanStatus.OK });
    expect(await streams.stored(shareName)).toMatchObject({ files: [], chunks: 0 });
  });

  test("finished under an open stream: what comes afterwards is refused", async () => {
    const shareName = await streams.newShare();
    const scanId = await streams.start(shareName);
    const stream = streams.client.clientStream(pushScan);
    await stream.send({ message: { case: "open", value: { scanId, writer: "main" } } });
    await expect.poll(async () => (await streams.get(scanId)).next).toEqual({ main: 0n });
    await streams.finish(scanId, { main: 0n });
    const sendLate = async () => {
      await stream.send({ message: { case: "chunk", value: chunk(0, [listing("/late", [file("x")])]) } });
      return stream.finish();
    };
    await expect(sendLate()).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "SCAN_CLOSED" });
    expect(await streams.stored(shareName)).toMatchObject({ files: [], chunks: 0 });
  });
});

test("finish with counts that disagree is refused, and can be mended", async () => {
  const shareName = await streams.newShare();
  const scanId = await streams.start(shareName);
  await streams.push(scanId, [chunk(0, [listing("/", [file("x", 5n)])])]);
  await streams.push(scanId, [chunk(0, [listing("/b")])], { writer: "two" });
  const wrong: [Record<string, bigint>, string, string, string][] = [
    [{}, "main", "0", "1"],
    [{ main: 2n, two: 1n }, "main", "2", "1"],
    [{ main: -1n, two: 1n }, "main", "-1", "1"],
    [{ main: 1n }, "two", "0", "1"],
    [{ main: 1n, two: 1n, three: 1n }, "three", "1", "0"],
  ];
  for (const [chunks, writer, sent, committed] of wrong) {
    await expect(streams.finish(scanId, chunks)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "COUNT_MISMATCH",
      metadata: { writer, sent, committed },
    });
  }
  expect(await streams.get(scanId)).toMatchObject({ scan: { status: ScanStatus.RUNNING, finishing: false } });
  expect(await streams.finish(scanId, { main: 1n, two: 1n, three: 0n })).toMatchObject({
    status: ScanStatus.OK,
    counts: { directories: 2n },
  });
});

describe("the brake", () => {
  const holds = (scanId: bigint, wouldBeMissing: number, limit: number) => ({
    code: "FAILED_PRECONDITION",
    reason: "BRAKE_HOLDS",
    metadata: { scan_id: String(scanId), would_be_missing: String(wouldBeMissing), limit: String(limit) },
  });

  test("stops a segment before it is stored, until it is confirmed", async () => {
    const shareName = await shareOfTen();
    const before = await streams.stored(shareName);
    const scanId = await streams.start(shareName);
    const four = chunk(0, [listing("/a", ten.slice(6))]);
    await expect(streams.push(scanId, [four])).rejects.toMatchObject(holds(scanId, 6, 5));
    // At once, when the stream is opened.
    await expect(streams.push(scanId, [])).rejects.toMatchObject(holds(scanId, 6, 5));
    expect(await streams.stored(shareName)).toEqual(before);
    expect(await streams.get(scanId)).toMatchObject({ scan: { brake: { wouldBeMissing: 6n, limit: 5n } }, next: { main: 0n } });

    const agent = createClient({ server: streams.server.address, key: streams.tenant.keys.agent });
    await expect(agent.unary(confirmBrake, { scanId })).rejects.toMatchObject({ code: "PERMISSION_DENIED", reason: "SCOPE_MISSING" });
    agent.close();
    const { scan } = await streams.client.unary(confirmBrake, { scanId });
    expect(scan?.brake).toBeUndefined();
    await streams.push(scanId, [four]);
    expect(await streams.finish(scanId, { main: 1n })).toMatchObject({ status: ScanStatus.OK, counts: { removed: 6n } });
    expect((await streams.stored(shareName)).files).toEqual(paths("/a", 6));
  });

  test("counts over the whole scan: five are allowed, in whatever segments, the sixth is not", async () => {
    const shareName = await streams.newShare();
    const first = await streams.start(shareName);
    await streams.push(first, [chunk(0, [listing("/a", ten.slice(0, 5)), listing("/b", ten.slice(5))])]);
    await streams.finish(first, { main: 1n });
    const scanId = await streams.start(shareName);
    await streams.push(scanId, [chunk(0, [listing("/a")])]);
    await expect(streams.push(scanId, [chunk(1, [listing("/b", ten.slice(6))])])).rejects.toMatchObject(holds(scanId, 6, 5));
    expect((await streams.stored(shareName)).files).toEqual(paths("/b", 5));
    await streams.client.unary(abortScan, { scanId });
    expect((await streams.stored(shareName)).files).toEqual(paths("/b", 5));
  });

  test("counts the share's files only when it comes near, and never what it has added itself", async () => {
    const shareName = await streams.newShare();
    const first = await streams.start(shareName);
    await streams.push(first, [chunk(0, [listing("/a", ten.slice(0, 5)), listing("/b", ten.slice(5))])]);
    await streams.finish(first, { main: 1n });
    const eight = (frn: bigint) => Array.from({ length: 8 }, (_, n) => file(`new${n}`, 1n, { frn: frn + BigInt(n) }));
    const scanId = await streams.start(shareName);
    await streams.push(scanId, [chunk(0, [listing("/b", ten.slice(5)), listing("/c", eight(200n))])]);
    await streams.push(scanId, [chunk(1, [listing("/a", ten.slice(4, 5))])]);
    await streams.finish(scanId, { main: 2n });
    expect(await limitOf(scanId)).toBeNull();

    // Fourteen are live now. The first segment finds none of them again, five gone, and eight new ones.
    const second = await streams.start(shareName);
    await streams.push(second, [chunk(0, [listing("/d", eight(300n)), listing("/b")])]);
    expect(await limitOf(second)).toBe("7");
    await expect(streams.push(second, [chunk(1, [listing("/c", eight(200n).slice(3))])])).rejects.toMatchObject(holds(second, 8, 7));
    await streams.client.unary(abortScan, { scanId: second });
  });

  test("takes nothing for found again that events have removed since it was listed", async () => {
    const shareName = await streams.newShare();
    const first = await streams.start(shareName);
    await streams.push(first, [chunk(0, [listing("/a", ten), listing("/b")])]);
    await streams.finish(first, { main: 1n });
    await withClient(streams.server.database.superuserUrl, (client) =>
      client.query(
        `UPDATE dir SET last_structural_event_utc = now() + interval '1 hour' WHERE dir_path = '/b' AND share_id =
           (SELECT share_id FROM share WHERE share_name = $1)`,
        [shareName],
      ),
    );
    const removed = Array.from({ length: 8 }, (_, n) => file(`removed${n}`, 1n, { frn: BigInt(200 + n) }));
    const scanId = await streams.start(shareName);
    await streams.push(scanId, [chunk(0, [listing("/b", removed)])]);
    await expect(streams.push(scanId, [chunk(1, [listing("/a", ten.slice(6))])])).rejects.toMatchObject(holds(scanId, 6, 5));
    await streams.client.unary(abortScan, { scanId });
  });

  test("stops the finish, for directories that were not seen; abort leaves them as they were", async () => {
    const shareName = await shareOfTen();
    const before = await streams.stored(shareName);
    const scanId = await streams.start(shareName);
    await streams.push(scanId, [chunk(0, [listing("/")])]);
    await expect(streams.finish(scanId, { main: 1n })).rejects.toMatchObject(holds(scanId, 10, 5));
    expect(await streams.get(scanId)).toMatchObject({
      scan: { status: ScanStatus.RUNNING, finishing: true, brake: { wouldBeMissing: 10n, limit: 5n } },
    });
    expect((await streams.stored(shareName)).files).toEqual(before.files);
    await streams.client.unary(abortScan, { scanId });
    expect((await streams.stored(shareName)).files).toEqual(before.files);
  });

  test("... confirmed, the finish goes on", async () => {
    const shareName = await shareOfTen();
    const scanId = await streams.start(shareName);
    await streams.push(scanId, [chunk(0, [listing("/")])]);
    await expect(streams.finish(scanId, { main: 1n })).rejects.toMatchObject(holds(scanId, 10, 5));
    await streams.client.unary(confirmBrake, { scanId });
    expect(await streams.finish(scanId, { main: 1n })).toMatchObject({ status: ScanStatus.OK, counts: { removed: 10n } });
    expect((await streams.stored(shareName)).files).toEqual([]);
  });

  test("is not tripped by a directory that moved", async () => {
    const shareName = await shareOfTen();
    const scanId = await streams.start(shareName);
    await streams.push(scanId, [chunk(0, [listing("/"), listing("/moved", ten)])]);
    expect(await streams.finish(scanId, { main: 1n })).toMatchObject({
      status: ScanStatus.OK,
      counts: { moved: 10n, removed: 0n, added: 0n },
    });
    expect((await streams.stored(shareName)).files).toEqual(paths("/moved"));
  });

  test.each([
    ["in one segment with its old place", (empty: Listing, moved: Listing) => [[listing("/"), empty, moved]]],
    ["in a segment before its old place", (empty: Listing, moved: Listing) => [[listing("/"), moved], [empty]]],
  ])("nor by one whose files come up %s", async (_, cut) => {
    const shareName = await shareOfTen();
    const scanId = await streams.start(shareName);
    const segments = cut(listing("/a"), listing("/moved", ten));
    for (const [no, listings] of segments.entries()) await streams.push(scanId, [chunk(no, listings)]);
    expect(await streams.finish(scanId, { main: BigInt(segments.length) })).toMatchObject({
      status: ScanStatus.OK,
      counts: { moved: 10n, removed: 0n, added: 0n },
    });
    expect((await streams.stored(shareName)).files).toEqual(paths("/moved"));
  });

  test("the one file of a share may move, not vanish", async () => {
    const shareName = await streams.newShare();
    const one = file("one", 7n, { frn: 7n });
    const scans: [Listing[], object][] = [
      [[listing("/"), listing("/a", [one])], { added: 1n }],
      [[listing("/"), listing("/a"), listing("/b", [one])], { moved: 1n }],
    ];
    for (const [listings, counts] of scans) {
      const scanId = await streams.start(shareName);
      await streams.push(scanId, [chunk(0, listings)]);
      expect(await streams.finish(scanId, { main: 1n })).toMatchObject({ status: ScanStatus.OK, counts });
    }
    const scanId = await streams.start(shareName);
    await expect(streams.push(scanId, [chunk(0, [listing("/"), listing("/b")])])).rejects.toMatchObject(holds(scanId, 1, 0));
    await streams.client.unary(abortScan, { scanId });
  });

  test("counts what does not come up, or comes up as another file, beside what moves", async () => {
    const shareName = await shareOfTen();
    const scanId = await streams.start(shareName);
    // Of ten, three move, one has another size, and six are not there.
    const moved = [...ten.slice(0, 3), file("f3", 33n, { frn: 103n })];
    await expect(streams.push(scanId, [chunk(0, [listing("/a"), listing("/b", moved)])])).rejects.toMatchObject(holds(scanId, 7, 5));
    await streams.client.unary(abortScan, { scanId });
    expect((await streams.stored(shareName)).files).toEqual(paths("/a"));
  });

  test("nor by what could not be read", async () => {
    const shareName = await shareOfTen();
    const scanId = await streams.start(shareName);
    await streams.push(scanId, [chunk(0, [listing("/"), listing("/a", [], { complete: false, unreadableReason: "EACCES" })])]);
    expect(await streams.finish(scanId, { main: 1n })).toMatchObject({
      status: ScanStatus.WARN,
      counts: { removed: 0n, unreadableDirectories: 1n },
    });
    expect((await streams.stored(shareName)).files).toEqual(paths("/a"));
  });
});
