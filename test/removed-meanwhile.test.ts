/** What a call works on goes away at the same moment, by another call's right: that is no internal error, and a retry meets what is so now. */
import type { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createPools } from "../src/db/pool.js";
import { RetentionService } from "../src/gen/frostline/v1/retention_pb.js";
import { ScanService } from "../src/gen/frostline/v1/scan_pb.js";
import { eraseNow } from "../src/retention/erasures.js";
import { withClient } from "./support/postgres.js";
import { chunk, file, listing, openStreams, type Streams } from "./support/streams.js";

let streams: Streams;
beforeAll(async () => {
  streams = await openStreams();
});
afterAll(() => streams?.close());

const { eraseShare, listErasures } = RetentionService.method;
const asSuperuser = <T>(work: (client: Client) => Promise<T>) => withClient(streams.server.database.superuserUrl, work);

test("a share is erased under a scan that goes on sending", async () => {
  const shareName = await streams.newShare();
  const scanId = await streams.start(shareName);
  const stream = streams.client.clientStream(ScanService.method.pushScan);
  await stream.send({ message: { case: "open", value: { scanId, writer: "main" } } });
  // The server has looked the scan up by the time that it counts its writer.
  await expect.poll(async () => Object.keys((await streams.get(scanId)).next)).toEqual(["main"]);
  await streams.client.unary(eraseShare, { shareName });
  await stream.send({ message: { case: "chunk", value: chunk(0, [listing("/new", [file("a")])]) } }).catch(() => {});
  await expect(stream.finish()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await streams.assertSound();
});

test("an erasure that breaks off is recorded all the same, and goes on by itself", async () => {
  const shareName = await streams.newShare();
  const refuse = `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE foreign_key_violation; END $$;
    CREATE TRIGGER refuse BEFORE DELETE ON share FOR EACH ROW EXECUTE FUNCTION refuse()`;
  await asSuperuser((client) => client.query(refuse));
  const { erasure } = await streams.client
    .unary(eraseShare, { shareName })
    .finally(() => asSuperuser((client) => client.query("DROP FUNCTION refuse CASCADE")));
  expect(erasure?.finishTime).toBeUndefined();
  const pools = createPools(streams.server.database.runtimeUrl, { queryPoolMax: 1, ingestPoolMax: 1, onIdleError: () => {} });
  await eraseNow(pools.query, streams.tenant.tenantId, new AbortController().signal);
  await pools.end();
  const { erasures } = await streams.client.unary(listErasures, {});
  expect(erasures.find(({ erasureId }) => erasureId === erasure?.erasureId)?.finishTime).toBeDefined();
});

test("a file is planned just as a scan finds that it is one that has moved", async () => {
  const shareName = await streams.newShare();
  const reel = file("reel.mov", 7n, { frn: 41n });
  const first = await streams.start(shareName);
  await streams.push(first, [chunk(0, [listing("/"), listing("/old", [reel])])]);
  await streams.finish(first, { main: 1n });
  const second = await streams.start(shareName);
  await streams.push(second, [chunk(0, [listing("/"), listing("/old"), listing("/new", [reel])])]);
  await asSuperuser(async (client) => {
    await client.query("BEGIN");
    const { rows } = await client.query<{ file_current_id: bigint }>(
      `INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, wanted_action, planned_by)
       SELECT tenant_id, share_id, file_current_id, 's3://x', 'PLANNED', 'STUB', 'x' FROM file_current WHERE first_seen_scan_id = $1 RETURNING file_current_id`,
      [second],
    );
    expect(rows).toHaveLength(1);
    const finishing = streams.finish(second, { main: 1n });
    finishing.catch(() => {});
    await expect
      .poll(async () => (await asSuperuser((other) => other.query("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))).rowCount)
      .toBe(1);
    await client.query("COMMIT");
    await expect(finishing).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
  // The planned file stays itself; the other is missing.
  expect(await streams.finish(second, { main: 1n })).toMatchObject({ counts: { added: 1n, removed: 1n, moved: 0n } });
  expect((await streams.stored(shareName)).files).toEqual(["/new/reel.mov 7"]);
});
