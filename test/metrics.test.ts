/** What a server measures of scans and audit trails is what was sent. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Chunk, ScanService } from "../src/gen/frostline/v1/scan_pb.js";
import { chunk, file, listing, openStreams, type Streams } from "./support/streams.js";

let streams: Streams;
beforeAll(async () => {
  streams = await openStreams();
});
afterAll(() => streams?.close());

/** By `name{labels}`. */
async function figures(): Promise<Map<string, number>> {
  const { text } = await streams.server.metrics.read();
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]));
}

async function scan(shareName: string, chunks: Chunk[]): Promise<void> {
  const scanId = await streams.start(shareName);
  await streams.push(scanId, chunks);
  await streams.finish(scanId, { main: BigInt(chunks.length) });
}

test("files by what their scan changed, refused records by reason, segments by size and phase", async () => {
  const share = await streams.newShare();
  const before = await figures();
  await scan(share, [
    chunk(0, [
      listing("/", [file("same"), file("grows", 1n), file("vanishes"), file(""), file("twice"), file("twice"), file("huge", 2n ** 63n)]),
      listing("/gone", [file("a"), file("b")]),
      listing("relative", []),
      listing("/locked", [], { complete: false, unreadableReason: "EACCES" }),
    ]),
  ]);
  const first = await figures();
  const since = (now: Map<string, number>, then: Map<string, number>, key: string) => (now.get(key) ?? 0) - (then.get(key) ?? 0);
  const files = (now: Map<string, number>, then: Map<string, number>) =>
    ["added", "changed", "unchanged", "missing", "moved"].map((change) =>
      since(now, then, `frostline_scan_files_total{change="${change}"}`),
    );
  expect(files(first, before)).toEqual([6, 0, 0, 0, 0]);
  const refused = (reason: string) => since(first, before, `frostline_refused_records_total{reason="${reason}"}`);
  const reasons = ["unreadable", "directory", "name", "value", "left_out", "duplicate"];
  expect(Object.fromEntries(reasons.map((reason) => [reason, refused(reason)]))).toEqual({
    unreadable: 1,
    directory: 1,
    name: 1,
    value: 1,
    left_out: 0,
    duplicate: 1,
  });
  expect(since(first, before, "frostline_segment_files_count")).toBe(1);
  expect(since(first, before, "frostline_segment_files_sum")).toBe(6);
  for (const phase of ["wait", "copy", "diff", "merge", "commit"]) {
    expect(since(first, before, `frostline_segment_seconds_count{phase="${phase}"}`)).toBe(1);
    expect(since(first, before, `frostline_segment_seconds_sum{phase="${phase}"}`)).toBeGreaterThan(0);
  }

  await scan(share, [
    chunk(0, [listing("/", [file("same"), file("grows", 2n), file("new"), file("twice"), file("huge")])]),
    chunk(1, [listing("/locked", [])]),
  ]);
  // `huge` was left as it was not known; `vanishes` and the two of the directory that is gone are missing.
  expect(files(await figures(), first)).toEqual([2, 1, 2, 3, 0]);
});

test("what streams hold is seen while they hold it", async () => {
  const scanId = await streams.start(await streams.newShare());
  const stream = streams.client.clientStream(ScanService.method.pushScan);
  await stream.send({ message: { case: "open", value: { scanId, writer: "main" } } });
  // A listing that goes on: nothing of it is sent on its way yet.
  await stream.send({
    message: { case: "chunk", value: chunk(0, [listing("/", [file("a"), file("b")], { more: true, complete: false })]) },
  });
  await expect.poll(async () => (await figures()).get("frostline_buffered_bytes")).toBeGreaterThan(50);
  await stream.send({ message: { case: "chunk", value: chunk(1, [listing("/", [file("c")])]) } });
  await stream.finish();
  const after = await figures();
  expect(after.get("frostline_buffered_bytes")).toBe(0);
  expect(after.get("frostline_segments_in_flight")).toBe(0);
});

test("a tenant's shares are counted, and the oldest scan is of all of them", async () => {
  await streams.newShare();
  const now = await figures();
  const labels = `{tenant="${streams.tenant.code}"}`;
  expect(now.get(`frostline_tenant_shares${labels}`)).toBeGreaterThan(0);
  expect(now.get(`frostline_tenant_oldest_scan_age_seconds${labels}`)).toBeGreaterThan(0);
});

test("background jobs: how long ago each was done", async () => {
  await expect.poll(async () => (await figures()).get('frostline_job_success_age_seconds{job="retention"}')).toBeLessThan(60);
  expect((await figures()).get('frostline_job_failures_in_row{job="retention"}')).toBe(0);
});
