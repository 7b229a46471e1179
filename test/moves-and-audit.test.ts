/** A file moves while a scan runs, and audit events tell of it under its new path before the scan has matched it with its old one. */
import { create } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { AuditAction, AuditEventSchema, AuditService } from "../src/gen/frostline/v1/audit_pb.js";
import { ScanService, ScanStatus } from "../src/gen/frostline/v1/scan_pb.js";
import { withClient } from "./support/postgres.js";
import { chunk, file, listing, openStreams, type Streams } from "./support/streams.js";

let streams: Streams;
beforeAll(async () => {
  streams = await openStreams();
});
afterAll(() => streams?.close());
// Which also verifies all that is stored.
afterEach(() => streams.assertSound());

const reel = (name: string) => file(name, 7n, { frn: 41n });
/** Long enough after what a scan lists, by every clock. */
const eventSeconds = Math.floor(Date.now() / 1000) + 600;

async function push(shareName: string, deeds: [AuditAction, string, string?][]) {
  const stream = streams.client.clientStream(AuditService.method.pushAudit);
  const events = deeds.map(([action, path, targetPath = ""], at) =>
    create(AuditEventSchema, {
      offset: BigInt(at),
      timeMicros: BigInt(eventSeconds + at) * 1_000_000n,
      action,
      path,
      targetPath,
      user: "ann",
    }),
  );
  await stream.send({ message: { case: "open", value: { shareName, volumeId: shareName } } });
  const batch = { auditFilePath: "a.log", headFingerprint: Buffer.from("head"), startOffset: 0n, endOffset: BigInt(events.length), events };
  await stream.send({ message: { case: "batch", value: batch } });
  return (await stream.finish()).counts;
}

const look = <Row extends Record<string, unknown>>(sql: string, shareName: string) =>
  withClient(streams.server.database.superuserUrl, async (client) => (await client.query<Row>(sql, [shareName])).rows);

const filesOf = (shareName: string) =>
  look<{ id: string; path: string; atime: string; source: string; stale: boolean; restructured: string | null }>(
    `SELECT c.file_current_id AS id, d.dir_path || '/' || c.name AS path, c.atime_unix AS atime, c.last_accessed_source AS source, c.stale_metadata AS stale,
       extract(epoch FROM c.last_structural_event_utc)::bigint AS restructured
     FROM file_current c JOIN dir d USING (tenant_id, dir_id) JOIN share h ON h.share_id = c.share_id WHERE h.share_name = $1 AND c.missing_since_scan_id IS NULL`,
    shareName,
  );

const accessesOf = (shareName: string) =>
  look<{ id: string }>(
    "SELECT l.file_current_id AS id FROM audit_log l JOIN share h ON h.share_id = l.share_id WHERE h.share_name = $1 AND l.kind = 'access'",
    shareName,
  );

/** A file that was /old/reel.mov lies in /new by now, and a scan has listed it there, but not yet found that it has left. Returns its id and the scan's. */
async function movedFile(shareName: string) {
  const first = await streams.start(shareName);
  await streams.push(first, [chunk(0, [listing("/"), listing("/old", [reel("reel.mov")])])]);
  await streams.finish(first, { main: 1n });
  const id = (await filesOf(shareName))[0]?.id;
  const scanId = await streams.start(shareName);
  await streams.push(scanId, [chunk(0, [listing("/"), listing("/new", [reel("reel.mov")])])]);
  return { id, scanId };
}

test("an access of it is that file's, in the log and in its access time", async () => {
  const shareName = await streams.newShare();
  const { id, scanId } = await movedFile(shareName);
  expect(await push(shareName, [[AuditAction.READ, "/new/reel.mov"]])).toMatchObject({ applied: 1n });
  expect(await accessesOf(shareName)).not.toEqual([{ id }]);
  expect(await streams.finish(scanId, { main: 1n })).toMatchObject({
    status: ScanStatus.OK,
    counts: { moved: 1n, added: 0n, removed: 0n },
  });
  expect(await filesOf(shareName)).toMatchObject([
    { id, path: "/new/reel.mov", atime: String(eventSeconds), source: "lucidlink_audit", stale: false },
  ]);
  expect(await accessesOf(shareName)).toEqual([{ id }]);
});

test("a write to it since it was listed leaves its size and times in doubt", async () => {
  const shareName = await streams.newShare();
  const { id, scanId } = await movedFile(shareName);
  await push(shareName, [[AuditAction.WRITE, "/new/reel.mov"]]);
  await streams.finish(scanId, { main: 1n });
  expect(await filesOf(shareName)).toMatchObject([{ id, path: "/new/reel.mov", stale: true }]);
});

test("moved once more, by an event: the scan ends, and it is that file under its last path", async () => {
  const shareName = await streams.newShare();
  const { id, scanId } = await movedFile(shareName);
  await push(shareName, [
    [AuditAction.READ, "/new/reel.mov"],
    [AuditAction.MOVE, "/new/reel.mov", "/newer/take.mov"],
  ]);
  expect(await streams.finish(scanId, { main: 1n })).toMatchObject({
    status: ScanStatus.OK,
    counts: { moved: 1n, added: 0n, removed: 0n },
  });
  expect(await filesOf(shareName)).toMatchObject([{ id, path: "/newer/take.mov", restructured: String(eventSeconds + 1) }]);
  expect(await accessesOf(shareName)).toEqual([{ id }]);
});

test("a scan that is aborted then matches it too", async () => {
  const shareName = await streams.newShare();
  const { id, scanId } = await movedFile(shareName);
  await streams.push(scanId, [chunk(1, [listing("/old")])]);
  await push(shareName, [
    [AuditAction.READ, "/new/reel.mov"],
    [AuditAction.MOVE, "/new/reel.mov", "/newer/take.mov"],
  ]);
  const { scan } = await streams.client.unary(ScanService.method.abortScan, { scanId });
  expect(scan).toMatchObject({ status: ScanStatus.ABANDONED, counts: { moved: 1n, added: 0n, removed: 0n } });
  expect(await filesOf(shareName)).toMatchObject([{ id, path: "/newer/take.mov" }]);
  expect(await accessesOf(shareName)).toEqual([{ id }]);
});
