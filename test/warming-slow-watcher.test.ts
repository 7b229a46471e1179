/** Watchers that stop reading. FROSTLINE_TEST_STALLED_WATCHERS: how many, default 14: with one who reads, as many as a tenant may have but one. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { peakRssBytes } from "./support/processes.js";
import { type SpawnedServer, spawnServer } from "./support/server.js";
import { createWarmedShare, look, type WarmedShare } from "./support/warmed-share.js";
import { openWatch, type Watcher, watchOver } from "./support/watcher.js";

const stalled = Number(process.env.FROSTLINE_TEST_STALLED_WATCHERS ?? 14);
const events = 40_000;
/** With their long users and hosts, what is told of all of them to one watcher is about 24 MB. */
const textChars = 250;
/** Of one watcher: a page, what the stream may have unsent, and its window. All events would be eight times that. */
const watcherBytesAtMost = 3e6;
/** What garbage that is not collected yet may add. */
const garbageBytesAtMost = 60e6;

let server: SpawnedServer;
let share: WarmedShare;

beforeAll(async () => {
  if (process.platform !== "linux") return;
  server = await spawnServer();
  share = await createWarmedShare(server, server, { files: 10 });
});
afterAll(() => server?.close());

describe.skipIf(process.platform !== "linux")("watchers that stop reading", { timeout: 240_000 }, () => {
  test("cost the server a page each, no connection to the database, and hold nobody up; read on, they are told everything", async () => {
    await fill(events);
    // What a server needs that tells all of it to one who reads.
    const quick = await openWatch(share, { afterPosition: 0n });
    await expectAll(quick);
    quick.close();
    const before = peakRssBytes(server.pid);
    const client = createClient({ server: server.address, key: server.keys.reader });
    const watches: Watcher[] = [];
    for (let no = 0; no < stalled; no++) {
      const watch = watchOver(client, { afterPosition: 0n });
      watches.push(watch);
      expect(await watch.next()).toEqual({ progress: 0n });
    }
    // Another one, who reads, is told all meanwhile; by then whatever the server would hold for the others, it holds.
    const reader = await openWatch(share, { afterPosition: 0n });
    await expectAll(reader);
    reader.close();
    await expectNothingLeft(server.database, { served: true });
    const grown = peakRssBytes(server.pid) - before;
    console.log(
      `${stalled} watchers that do not read, ${events} events: server's peak RSS ${(before / 1e6).toFixed(0)} MB, then ${(grown / 1e6).toFixed(0)} MB more`,
    );
    expect(grown).toBeLessThan(stalled * watcherBytesAtMost + garbageBytesAtMost);
    await expectAll(watches[0] as Watcher);
    for (const watch of watches) watch.close();
    client.close();
  });
});

/** Events as if they had been published one by one. */
async function fill(count: number): Promise<void> {
  await look(
    share,
    `INSERT INTO warming_event (tenant_id, position, tier_id, share_id, event_utc, actor, host, recorded_utc)
     SELECT t.tenant_id, n, t.tier_id, t.share_id, now(), repeat('u', $3), repeat('h', $3), now()
     FROM generate_series(1, $2::integer) AS n JOIN (SELECT *, row_number() OVER (ORDER BY tier_id) - 1 AS no FROM tier_object WHERE tenant_id = $1) t ON t.no = n % 10`,
    count,
    textChars,
  );
  await look(share, "INSERT INTO warming_position VALUES ($1, $2)", count);
}

/** `behind` first, then every event once and in order. */
async function expectAll(watch: Watcher): Promise<void> {
  expect(await watch.nextNews()).toMatchObject({ behind: { position: 0n, newestPosition: BigInt(events) } });
  for (let position = 1n; position <= events; position++) {
    const told = await watch.nextNews();
    if (!("event" in told) || told.event.position !== position) throw new Error(`expected ${position}, was told ${Object.keys(told)}`);
  }
}
