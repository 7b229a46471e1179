/** Warming on the oldest PostgreSQL that is supported: every statement of it, once. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { migrate } from "../src/db/migrate.js";
import { WarmingService } from "../src/gen/frostline/v1/warming_pb.js";
import { beginResidency } from "../src/warming/residency.js";
import { violationsOf } from "./support/audited-share.js";
import type { RunningCluster } from "./support/cluster.js";
import { createEmptyDatabase, missingPostgres14, postgres14, withClient } from "./support/postgres.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { createWarmedShare, look, pushAccesses } from "./support/warmed-share.js";
import { openWatch } from "./support/watcher.js";

const minuteMs = 60_000;

describe.skipIf(missingPostgres14())("on PostgreSQL 14", () => {
  let running: RunningCluster;
  let server: TestServer;
  beforeAll(async () => {
    running = await postgres14();
    const database = await createEmptyDatabase(running.cluster);
    await migrate(database.ownerUrl);
    server = await startTestServer({ database });
  });
  afterAll(async () => {
    await server?.close();
    await running?.stop();
  });

  test("accesses are told, counted, held against policy and storms, listed and watched", async () => {
    const settings = { warming: { action: "rehydrate", accesses: 1, window_seconds: 60 } } as const;
    const share = await createWarmedShare(server, server, { files: 8, settings });
    const client = createClient({ server: server.address, key: server.keys.operator });
    await client.unary(WarmingService.method.setStormLimit, { shareName: share.shareName, filesPerMinute: 3 }).finally(client.close);
    const beginMs = Math.floor(Date.now() / minuteMs - 40) * minuteMs;
    const watch = await openWatch(share);
    const reads = (from: number, to: number, minute: number) =>
      share.paths.slice(from, to).map((path) => ({ path, timeMs: beginMs + minute * minuteMs }));
    await pushAccesses(share, reads(0, 1, 0));
    await pushAccesses(share, reads(1, 6, 10));
    await pushAccesses(share, reads(6, 7, 12));
    expect(await watch.nextNews()).toMatchObject({ event: { position: 1n, path: share.paths[0], inStorm: false } });
    expect(await watch.nextNews()).toMatchObject({ storm: { position: 2n, files: 5n } });
    for (let position = 3n; position <= 8n; position++)
      expect(await watch.nextNews()).toMatchObject({ event: { position, inStorm: true } });
    watch.close();
    const reader = createClient({ server: server.address, key: server.keys.reader });
    const { events } = await reader.unary(WarmingService.method.listWarmingEvents, { shareName: share.shareName, path: "/reel" });
    const { storms } = await reader.unary(WarmingService.method.listWarmingStorms, {}).finally(reader.close);
    expect(events).toHaveLength(7);
    expect(storms).toMatchObject([{ accesses: 6n }]);
    const wanted = await look(
      share,
      "SELECT access_count::integer AS accesses FROM tier_object WHERE tenant_id = $1 AND wanted_action = 'REHYDRATE'",
    );
    expect(wanted).toEqual([{ accesses: 1 }]);
    await withClient(server.database.runtimeUrl, async (runtime) => {
      await runtime.query(`BEGIN; SET LOCAL app.tenant_id = '${server.tenantId}'`);
      const { rows } = await runtime.query<{ tier_id: string }>("SELECT tier_id FROM tier_object WHERE tenant_id = $1", [server.tenantId]);
      await beginResidency(
        runtime,
        server.tenantId,
        rows.map(({ tier_id }) => BigInt(tier_id)),
      );
      await runtime.query("ROLLBACK");
    });
    expect(await violationsOf(server.database)).toEqual([]);
  });
});
