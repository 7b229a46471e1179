/** What fails at the last is undone as a whole, and done once when it comes again; what cannot follow on what is stored is refused. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { AuditAction } from "../src/gen/frostline/v1/audit_pb.js";
import { violationsOf } from "./support/audited-share.js";
import { withClient } from "./support/postgres.js";
import { chunk, file, listing, openStreams, type Streams } from "./support/streams.js";
import { createTestTenant } from "./support/tenant.js";
import { createWarmedShare, look, pushAccesses, type WarmedShare } from "./support/warmed-share.js";
import { type Receiver, startReceiver } from "./support/webhook-receiver.js";
import { makeWebhook, type WebhookSurroundings, webhookClients, webhookSurroundings } from "./support/webhook-server.js";

let streams: Streams;
let receiver: Receiver;
let surroundings: WebhookSurroundings;
beforeAll(async () => {
  receiver = await startReceiver();
  surroundings = await webhookSurroundings([receiver]);
  streams = await openStreams(surroundings.env);
  // Numbers drawn from a sequence stay drawn.
  await superuser("CREATE SEQUENCE public.refusals; GRANT USAGE ON SEQUENCE public.refusals TO frostline_runtime");
  await superuser(`CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM nextval('public.refusals'); RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$`);
});
afterAll(async () => {
  await streams?.close();
  await receiver?.close();
  await surroundings?.remove();
});

function superuser(sql: string) {
  return withClient(streams.server.database.superuserUrl, (client) => client.query(sql));
}

/** How often a row was refused. */
async function refusals(): Promise<number> {
  const { rows } = await superuser("SELECT CASE WHEN is_called THEN last_value ELSE 0 END::integer AS refusals FROM public.refusals");
  return rows[0].refusals;
}

/** PostgreSQL takes no row into the table meanwhile. */
async function whileRefusing(table: string, work: () => Promise<void>): Promise<void> {
  await superuser(`CREATE TRIGGER refuse AFTER INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION public.refuse()`);
  const before = await refusals();
  await work().finally(() => superuser(`DROP TRIGGER refuse ON ${table}`));
  expect(await refusals()).toBeGreaterThan(before);
}

/** What an audit file has left in the database: how far it was read, events that are known, accesses that are told. */
async function traces(share: WarmedShare) {
  const [row] = await look<{ position: number; processed: number; logged: number; told: number; counted: number }>(
    share,
    `SELECT (SELECT coalesce(sum(last_position), 0)::integer FROM lucid_audit_cursor WHERE tenant_id = $1) AS position,
       (SELECT count(*)::integer FROM lucid_audit_processed WHERE tenant_id = $1) AS processed,
       (SELECT count(*)::integer FROM audit_log WHERE tenant_id = $1 AND kind = 'access') AS logged,
       (SELECT count(*)::integer FROM warming_event WHERE tenant_id = $1) AS told,
       (SELECT coalesce(sum(access_count), 0)::integer FROM tier_object WHERE tenant_id = $1) AS counted`,
  );
  return row;
}

test("a segment that fails at the last leaves nothing; sent again, it is stored once", async () => {
  const shareName = await streams.newShare();
  const scanId = await streams.start(shareName);
  const send = () => streams.push(scanId, [chunk(0, [listing("/", [file("x", 10n)])])]);
  await whileRefusing("ingest_chunk", () => expect(send()).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "DATABASE_UNAVAILABLE" }));
  expect(await streams.stored(shareName)).toEqual({ files: [], versions: 0, chunks: 0, problems: 0 });
  expect(await streams.get(scanId)).toMatchObject({ scan: { counts: { files: 0n, added: 0n } }, next: { main: 0n } });
  await send();
  expect(await streams.finish(scanId, { main: 1n })).toMatchObject({ counts: { files: 1n, added: 1n } });
  expect(await streams.stored(shareName)).toMatchObject({ files: ["/x 10"], versions: 1, chunks: 1 });
  await streams.assertSound();
});

test("an audit batch that fails at the last leaves nothing; sent again, each event counts once", async () => {
  const share = await createWarmedShare(streams.server, await createTestTenant(streams.server.database), { files: 2 });
  const timeMs = Date.now();
  const accesses = share.paths.map((path) => ({ path, timeMs }));
  await whileRefusing("warming_event", () =>
    expect(pushAccesses(share, accesses)).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "DATABASE_UNAVAILABLE" }),
  );
  expect(await traces(share)).toEqual({ position: 0, processed: 0, logged: 0, told: 0, counted: 0 });
  expect(await pushAccesses(share, accesses)).toMatchObject({ applied: 2n, duplicate: 0n });
  expect(await traces(share)).toEqual({ position: 2, processed: 2, logged: 2, told: 2, counted: 2 });
  expect(await violationsOf(streams.server.database)).toEqual([]);
});

test("directories that events of such a batch make are not there, and are once it has come again", async () => {
  const share = await createWarmedShare(streams.server, await createTestTenant(streams.server.database), { files: 1 });
  const directories = async () => {
    const rows = await look<{ path: string }>(
      share,
      "SELECT dir_path AS path FROM dir WHERE tenant_id = $1 AND missing_since_scan_id IS NULL ORDER BY 1",
    );
    return rows.map(({ path }) => path);
  };
  const events = [
    { path: "/made/below/film.mov", action: AuditAction.CREATE_FILE },
    { path: "/empty", action: AuditAction.CREATE_DIRECTORY },
    { path: share.paths[0] as string },
  ].map((event) => ({ ...event, timeMs: Date.now() }));
  await whileRefusing("warming_event", () => expect(pushAccesses(share, events)).rejects.toMatchObject({ code: "UNAVAILABLE" }));
  // Else one that was above them and moves, before the batch comes again, would take them along.
  expect(await directories()).toEqual(["/", "/reel"]);
  expect(await pushAccesses(share, events)).toMatchObject({ applied: 1n, inserted: 2n });
  expect(await directories()).toEqual(["/", "/empty", "/made", "/made/below", "/reel"]);
  expect(await violationsOf(streams.server.database)).toEqual([]);
});

test("a batch behind a gap is refused with the byte to go on with, and none of it is stored", async () => {
  const share = await createWarmedShare(streams.server, await createTestTenant(streams.server.database), { files: 2 });
  const [first, second] = share.paths.map((path) => ({ path })) as [{ path: string }, { path: string }];
  await pushAccesses(share, [first]);
  const before = await traces(share);
  share.sent.set("node/a.log", 3n);
  await expect(pushAccesses(share, [second])).rejects.toMatchObject({
    code: "OUT_OF_RANGE",
    reason: "AUDIT_GAP",
    metadata: { audit_file_path: "node/a.log", expected_position: "1" },
  });
  expect(await traces(share)).toEqual(before);
  share.sent.set("node/a.log", 1n);
  expect(await pushAccesses(share, [second])).toMatchObject({ applied: 1n });
});

test("messages that cannot be written leave their webhook where it was, and are sent once they can", { timeout: 30_000 }, async () => {
  const share = await createWarmedShare(streams.server, streams.tenant, { files: 1 });
  const clients = webhookClients(streams.server);
  const { webhookId } = await makeWebhook(clients.admin, { url: receiver.url, eventTypes: ["warming.alert"] });
  clients.close();
  const position = () =>
    look(share, "SELECT warming_position::integer AS position FROM webhook WHERE tenant_id = $1 AND webhook_id = $2", webhookId);
  await whileRefusing("webhook_delivery", async () => {
    const before = await refusals();
    await pushAccesses(share, [{ path: share.paths[0] as string }]);
    await expect.poll(refusals, { timeout: 10_000 }).toBeGreaterThan(before);
    expect(await position()).toEqual([{ position: 0 }]);
  });
  const [message] = await receiver.until((received) => received.length > 0);
  expect(message?.message).toMatchObject({ type: "warming.alert", data: { accesses: [{ position: "1" }] } });
  expect(await position()).toEqual([{ position: 1 }]);
});
