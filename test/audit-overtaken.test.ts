/** Files that events only read are looked up before the share is held: what another transaction made of them meanwhile is seen all the same. */
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AuditAction, AuditEventSchema, AuditService } from "../src/gen/frostline/v1/audit_pb.js";
import { lockShare } from "../src/ingest/locks.js";
import { withClient } from "./support/postgres.js";
import { chunk, file, listing, openStreams, type Streams } from "./support/streams.js";

let streams: Streams;
beforeAll(async () => {
  streams = await openStreams();
});
afterAll(() => streams?.close());

const names = ["same", "moved", "newly read", "replaced", "deleted"];
/** Long enough after what a scan lists, by every clock. */
const eventSeconds = Math.floor(Date.now() / 1000) + 600;

test("moved, read, replaced and deleted while the transaction waits for the share", async () => {
  const { shareName, scanId } = await scannedShare();

  await withClient(streams.server.database.superuserUrl, async (client) => {
    const { rows: shares } = await client.query<{ share_id: string }>("SELECT share_id FROM share WHERE share_name = $1", [shareName]);
    const shareId = BigInt(shares[0]?.share_id as string);
    await client.query("BEGIN");
    await lockShare(client, shareId, "exclusive");
    const pushing = push(shareName);
    const waits = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    await expect.poll(async () => (await withClient(streams.server.database.superuserUrl, (other) => other.query(waits))).rowCount).toBe(1);
    const change = (name: string, set: string) =>
      client.query(`UPDATE file_current SET ${set} WHERE share_id = $1 AND name = $2`, [shareId, name]);
    await change("moved", "name = 'elsewhere'");
    await change("newly read", `atime_unix = ${eventSeconds + 10}`);
    await change("deleted", `missing_since_scan_id = ${scanId}`);
    await change("replaced", `missing_since_scan_id = ${scanId}`);
    await client.query(
      `INSERT INTO file_current (tenant_id, file_current_id, share_id, dir_id, name, metadata_complete, stale_metadata)
       SELECT tenant_id, file_current_id + 1000000, share_id, dir_id, name, false, true FROM file_current WHERE share_id = $1 AND name = 'replaced'`,
      [shareId],
    );
    await client.query("UPDATE dir SET history_dirty = true WHERE share_id = $1", [shareId]);
    await client.query("COMMIT");
    expect(await pushing).toMatchObject({ applied: 2n, stale: 1n, waiting: 2n });

    const { rows } = await client.query<{ name: string; missing: boolean; read: boolean; logged: string }>(
      `SELECT c.name, c.missing_since_scan_id IS NOT NULL AS missing, coalesce(c.atime_unix = $2, false) AS read,
         (SELECT count(*) FROM audit_log l WHERE l.file_current_id = c.file_current_id AND l.share_id = c.share_id) AS logged
       FROM file_current c WHERE share_id = $1 ORDER BY name, missing`,
      [shareId, eventSeconds],
    );
    expect(rows).toEqual([
      { name: "deleted", missing: true, read: false, logged: "0" },
      { name: "elsewhere", missing: false, read: false, logged: "0" },
      { name: "newly read", missing: false, read: false, logged: "0" },
      { name: "replaced", missing: false, read: true, logged: "1" },
      { name: "replaced", missing: true, read: false, logged: "0" },
      { name: "same", missing: false, read: true, logged: "1" },
    ]);
  });
});

test("of statements that are sent together, the one that fails is the one that is told of", async () => {
  const { shareName } = await scannedShare();
  const fill = `CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$;
    CREATE TRIGGER fill BEFORE UPDATE ON file_current FOR EACH ROW EXECUTE FUNCTION fill()`;
  await withClient(streams.server.database.superuserUrl, async (client) => {
    await client.query(fill);
    try {
      // What is made after the files are touched fails with it.
      await expect(push(shareName, AuditAction.CREATE_FILE)).rejects.toMatchObject({
        code: "UNAVAILABLE",
        message: expect.stringContaining("disk full"),
      });
    } finally {
      await client.query("DROP FUNCTION fill CASCADE");
    }
  });
  expect(await push(shareName, AuditAction.CREATE_FILE)).toMatchObject({ duplicate: 0n });
});

/** It has the files of `names`. */
async function scannedShare() {
  const shareName = await streams.newShare();
  const scanId = await streams.start(shareName);
  await streams.push(scanId, [
    chunk(0, [
      listing("/"),
      listing(
        "/d",
        names.map((name) => file(name)),
      ),
    ]),
  ]);
  await streams.finish(scanId, { main: 1n });
  return { shareName, scanId };
}

async function push(shareName: string, last = AuditAction.READ) {
  const stream = streams.client.clientStream(AuditService.method.pushAudit);
  const events = [...names, ...(last === AuditAction.READ ? [] : ["new"])].map((name, at) =>
    create(AuditEventSchema, {
      offset: BigInt(at),
      timeMicros: BigInt(eventSeconds) * 1_000_000n,
      action: at < names.length ? AuditAction.READ : last,
      path: `/d/${name}`,
      user: "ann",
    }),
  );
  await stream.send({ message: { case: "open", value: { shareName, volumeId: shareName } } });
  const batch = { auditFilePath: "a.log", headFingerprint: Buffer.from("head"), startOffset: 0n, endOffset: BigInt(events.length), events };
  await stream.send({ message: { case: "batch", value: batch } });
  return (await stream.finish()).counts;
}
