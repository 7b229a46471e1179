/** WatchWarming: nothing is missed and nothing comes twice, whoever commits when, and whatever breaks. */
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { KeyScope, TenantService } from "../src/gen/frostline/v1/tenant_pb.js";
import { WarmingService } from "../src/gen/frostline/v1/warming_pb.js";
import { watchersAtMost, watchersOfTenantAtMost } from "../src/warming/feed.js";
import { withClient } from "./support/postgres.js";
import { seededRandom } from "./support/random.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { createTestTenant } from "./support/tenant.js";
import { createWarmedShare, look, pushAccesses, sendAccesses, type WarmedShare } from "./support/warmed-share.js";
import { openWatch, type Watcher } from "./support/watcher.js";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server?.close();
});

const shareOf = async (files = 3) => createWarmedShare(server, await createTestTenant(server.database), { files });
const positionsOf = async (share: WarmedShare) =>
  (await look<{ position: string }>(share, "SELECT position FROM warming_event WHERE tenant_id = $1 ORDER BY position")).map(
    ({ position }) => BigInt(position),
  );

describe("eight writers, one of which holds its commit for 5 s", () => {
  const writers = 8;
  const batchesOfWriter = 12;
  const filesOfShare = 25;
  const holdKey = 190_733;

  test("a watcher that reconnects again and again misses nothing and sees nothing twice", { timeout: 120_000 }, async () => {
    const random = seededRandom();
    const tenant = await createTestTenant(server.database);
    const shares: WarmedShare[] = [];
    for (let no = 0; no < writers; no++)
      shares.push(await createWarmedShare(server, tenant, { shareName: `share ${no}`, files: filesOfShare }));
    const [held] = shares as [WarmedShare];
    await holdCommitsOf(held, "the one who waits");
    const end: { position?: bigint } = {};
    const reading = readAll(held, end, () => random.between(0, 60));
    const holder = await lockHold();
    const first = shares.map((share) => writeBatches(share, batchesOfWriter / 2));
    await Promise.all(first);
    let isHeld = true;
    const waiting = pushAccesses(held, [{ path: held.paths[0] as string, user: "the one who waits" }]).finally(() => {
      isHeld = false;
    });
    await expect.poll(() => waitersForHold(), { timeout: 30_000 }).toBe(1);
    const others = shares.slice(1).map((share) => writeBatches(share, batchesOfWriter / 2));
    // In the database, by its clock, with seven writers at work or waiting behind it.
    await holder.query("SELECT pg_sleep(5)");
    expect(isHeld).toBe(true);
    await holder.end();
    await waiting;
    await Promise.all([...others, writeBatches(held, batchesOfWriter / 2)]);
    const stored = await positionsOf(held);
    expect(stored).toHaveLength(writers * batchesOfWriter * filesOfShare + 1);
    end.position = stored.at(-1) as bigint;
    // Wakes a watcher that has read all there was before it knew the end.
    await pushAccesses(held, [{ path: held.paths[0] as string }]);
    const { seen, watches } = await reading;
    expect(seen).toEqual(stored);
    expect(watches).toBeGreaterThan(20);
  });

  /** The transaction of a batch that has an access of `user` waits at its commit, once it has its positions, for the hold. */
  async function holdCommitsOf({ server: { database } }: WarmedShare, user: string): Promise<void> {
    await withClient(database.superuserUrl, async (client) => {
      await client.query(`
        CREATE FUNCTION wait_for_hold() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN IF NEW.actor = '${user}' THEN PERFORM pg_advisory_xact_lock_shared(${holdKey}); END IF; RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON warming_event DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_hold()`);
    });
  }

  async function lockHold() {
    const client = new pg.Client({ connectionString: server.database.superuserUrl });
    await client.connect();
    await client.query("SELECT pg_advisory_lock($1)", [holdKey]);
    return client;
  }

  async function waitersForHold(): Promise<number> {
    return withClient(server.database.superuserUrl, async (client) => {
      const { rows } = await client.query<{ waiting: number }>(
        "SELECT count(*)::integer AS waiting FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = $1 AND objsubid = 1",
        [holdKey],
      );
      return rows[0]?.waiting ?? 0;
    });
  }

  async function writeBatches(share: WarmedShare, batches: number): Promise<void> {
    const client = createClient({ server: server.address, key: share.tenant.keys.agent });
    for (let no = 0; no < batches; no++)
      await sendAccesses(
        client,
        share,
        share.paths.map((path) => ({ path })),
        "node/b.log",
      );
    client.close();
  }

  /** Positions of events up to the end in the order in which they are told, by watches that each end after a few messages. */
  async function readAll(share: WarmedShare, end: { position?: bigint }, messagesOfWatch: () => number) {
    const seen: bigint[] = [];
    let watches = 0;
    let afterPosition = 0n;
    const isOver = () => end.position !== undefined && afterPosition >= end.position;
    while (!isOver()) {
      const watch = await openWatch(share, { afterPosition });
      expect(watch.position).toBe(afterPosition);
      watches++;
      for (let left = messagesOfWatch(); left > 0 && !isOver(); left--) {
        const told = await watch.next();
        if ("progress" in told) afterPosition = told.progress;
        else if ("event" in told) {
          afterPosition = told.event.position;
          seen.push(told.event.position);
        }
      }
      watch.close();
    }
    return { seen: seen.filter((position) => position <= (end.position as bigint)), watches };
  }
});

test("a watch begins now or behind a position, tells a storm in its place, and only of its share and tenant", async () => {
  const share = await shareOf();
  const other = await createWarmedShare(server, share.tenant, { shareName: "other", files: 3 });
  const strange = await shareOf();
  const stranger = await openWatch(strange);
  await look(share, "UPDATE share SET storm_files_per_minute = 2 WHERE tenant_id = $1");
  await pushAccesses(share, [{ path: share.paths[0] as string, user: "bob", host: "laptop" }]);
  const now = await openWatch(share);
  const all = await openWatch(share, { afterPosition: 0n });
  const others = await openWatch(share, { shareName: "other" });
  expect([now.position, all.position, others.position]).toEqual([1n, 0n, 1n]);
  expect(await all.nextNews()).toMatchObject({
    event: { position: 1n, path: share.paths[0], user: "bob", host: "laptop", inStorm: false },
  });
  const timeMs = Date.now() + 120_000;
  await pushAccesses(
    share,
    share.paths.map((path) => ({ path, timeMs })),
  );
  await pushAccesses(other, [{ path: other.paths[0] as string }]);
  for (const watch of [all, now]) {
    expect(await watch.nextNews()).toMatchObject({ storm: { position: 2n, shareName: "warmed", files: 3n, filesPerMinuteLimit: 2n } });
    for (const position of [3n, 4n, 5n])
      expect(await watch.nextNews()).toMatchObject({ event: { position, shareName: "warmed", inStorm: true } });
    expect(await watch.nextNews()).toMatchObject({ event: { position: 6n, shareName: "other", inStorm: false } });
  }
  expect(await others.nextNews()).toMatchObject({ event: { position: 6n } });
  await pushAccesses(strange, [{ path: strange.paths[0] as string, user: "eve" }]);
  expect(await stranger.nextNews()).toMatchObject({ event: { position: 1n, user: "eve" } });
  for (const watch of [stranger, now, all, others]) watch.close();
}, 30_000);

test("what is told while nobody listens is read when the server listens again", async () => {
  const share = await shareOf();
  const watch = await openWatch(share);
  for (let round = 1; round <= 3; round++) {
    await terminateListener();
    await pushAccesses(
      share,
      share.paths.map((path) => ({ path })),
    );
    for (let no = 1; no <= 3; no++) expect(await watch.nextNews()).toMatchObject({ event: { position: BigInt(3 * (round - 1) + no) } });
  }
  watch.close();
});

/** Breaks the connection that listens, once there is one. */
async function terminateListener(): Promise<void> {
  const terminate = () =>
    withClient(server.database.superuserUrl, async (client) => {
      const { rowCount } = await client.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'frostline-listen' AND query ~ '^LISTEN|^SELECT 1'",
      );
      return rowCount;
    });
  await expect.poll(terminate).toBe(1);
}

test("a watcher of one server is told at once what was pushed to another", async () => {
  const share = await shareOf();
  const second = await startTestServer({ database: server.database, tenant: share.tenant });
  const watch = await openWatch({ server: second, tenant: share.tenant });
  const startMs = performance.now();
  await pushAccesses(share, [{ path: share.paths[0] as string }]);
  expect(await watch.nextNews()).toMatchObject({ event: { position: 1n } });
  // Without a notification it would be told when the watch next looks of itself, after 15 s.
  expect(performance.now() - startMs).toBeLessThan(8000);
  watch.close();
  await second.close();
});

test("only what has warming events to tell waits for whoever is about to commit some, and only of the same tenant", async () => {
  const share = await shareOf();
  const quiet = await createWarmedShare(server, share.tenant, { shareName: "nothing stubbed", files: 1 });
  await look(quiet, "UPDATE tier_object SET state = 'REHYDRATED' WHERE tenant_id = $1 AND share_id = $2", quiet.shareId);
  const stranger = await shareOf();
  await pushAccesses(share, [{ path: share.paths[0] as string }]);
  let waited = true;
  const waiting = await withClient(server.database.superuserUrl, async (client) => {
    await client.query("BEGIN");
    await client.query("SELECT FROM warming_position WHERE tenant_id = $1 FOR UPDATE", [share.tenant.tenantId]);
    const push = pushAccesses(share, [{ path: share.paths[1] as string }]).finally(() => {
      waited = false;
    });
    expect(await pushAccesses(quiet, [{ path: quiet.paths[0] as string }])).toMatchObject({ applied: 1n });
    expect(await pushAccesses(stranger, [{ path: stranger.paths[0] as string }])).toMatchObject({ applied: 1n });
    await expect.poll(() => waitersForRows()).toBeGreaterThan(0);
    expect(waited).toBe(true);
    await client.query("COMMIT");
    return { push };
  });
  expect(await waiting.push).toMatchObject({ applied: 1n });
});

/** Transactions of the server that wait for another one's row. */
async function waitersForRows(): Promise<number> {
  return withClient(server.database.superuserUrl, async (client) => {
    const { rows } = await client.query<{ waiting: number }>(
      "SELECT count(*)::integer AS waiting FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ~ 'warming_position'",
    );
    return rows[0]?.waiting ?? 0;
  });
}

test("a watch of what cannot be is refused by name", async () => {
  const share = await shareOf();
  await expect(openWatch(share, { shareName: "none" })).rejects.toMatchObject({ code: "NOT_FOUND", reason: "SHARE_NOT_FOUND" });
  await expect(openWatch(share, { afterPosition: -1n })).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_FIELD" });
  await expect(openWatch(share, { afterPosition: 1n })).rejects.toMatchObject({
    code: "OUT_OF_RANGE",
    reason: "POSITION_UNKNOWN",
    metadata: { newest_position: "0" },
  });
});

test("a revoked key's watch ends before it is told anything more", async () => {
  const share = await shareOf();
  const admin = createClient({ server: server.address, key: share.tenant.keys.admin });
  const { secret, key } = await admin.unary(TenantService.method.createKey, { name: "watcher", scopes: [KeyScope.READER] });
  const watch = await openWatch({ server, tenant: { ...share.tenant, keys: { ...share.tenant.keys, reader: secret } } });
  await admin.unary(TenantService.method.revokeKey, { keyId: (key as { keyId: string }).keyId }).finally(admin.close);
  await pushAccesses(share, [{ path: share.paths[0] as string }]);
  await expect(watch.nextNews()).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "KEY_NOT_IN_FORCE" });
  watch.close();
});

test("watches are bounded, for a tenant and in all, and their places come free", async () => {
  const watches: Watcher[] = [];
  const fill = async (share: WarmedShare, most: number) => {
    for (let no = 0; no < most; no++) watches.push(await openWatch(share));
    await expect(openWatch(share)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "TOO_MANY_WATCHERS", retryDelayMs: 5000 });
  };
  const shares = [await shareOf(1)];
  for (let open = 0; open < watchersAtMost; open += watchersOfTenantAtMost) {
    await fill(shares[0] as WarmedShare, watchersOfTenantAtMost);
    shares.unshift(await shareOf(1));
  }
  // A tenant that has none finds no place.
  await fill(shares[0] as WarmedShare, 0);
  watches.pop()?.close();
  const again = () =>
    openWatch(shares[0] as WarmedShare).then(
      (watch) => watches.push(watch),
      () => 0,
    );
  await expect.poll(again).toBeGreaterThan(0);
  for (const watch of watches) watch.close();
});

test("a server that stops ends its watches at once, and says that they go on elsewhere", async () => {
  const stopping = await startTestServer();
  try {
    const share = await createWarmedShare(stopping, stopping, { files: 1 });
    const idle = await openWatch(share);
    const closed = stopping.close();
    await expect(idle.nextNews()).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "SERVER_DRAINING" });
    idle.close();
    const startMs = performance.now();
    await closed;
    expect(performance.now() - startMs).toBeLessThan(5000);
  } finally {
    await stopping.close();
  }
});

test("a watch is a reader's", async () => {
  const share = await shareOf();
  const agent = createClient({ server: server.address, key: share.tenant.keys.agent });
  const messages = agent.serverStream(WarmingService.method.watchWarming, {})[Symbol.asyncIterator]();
  await expect(messages.next()).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  agent.close();
});
