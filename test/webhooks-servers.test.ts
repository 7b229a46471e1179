/** Webhooks when servers fall, when there are two, and when most of a tenant's receivers hang. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createPools, type Pools } from "../src/db/pool.js";
import { inTenant } from "../src/db/tenant.js";
import { claimDue } from "../src/webhooks/claim.js";
import { violationsOf } from "./support/audited-share.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { createTestDatabase, type TestDatabase, withClient } from "./support/postgres.js";
import { spawnServer, startTestServer } from "./support/server.js";
import { createTestTenant } from "./support/tenant.js";
import { createWarmedShare, pushAccesses } from "./support/warmed-share.js";
import { isSignedWith, type Received, type Receiver, startReceiver } from "./support/webhook-receiver.js";
import { makeWebhook, sql, type WebhookSurroundings, webhookClients, webhookSurroundings } from "./support/webhook-server.js";

let database: TestDatabase;
let pools: Pools;
let receiver: Receiver;
let surroundings: WebhookSurroundings;
/** Paths that get no answer. */
const silent = new Set<string>();

beforeAll(async () => {
  database = await createTestDatabase();
  pools = createPools(database.runtimeUrl, { queryPoolMax: 2, ingestPoolMax: 1, onIdleError: () => {} });
  receiver = await startReceiver(({ path }, response) => {
    if (!silent.has(path)) response.writeHead(204).end();
  });
  surroundings = await webhookSurroundings([receiver]);
});
afterAll(async () => {
  await pools?.end();
  if (database) await expectNothingLeft(database, { served: false });
  await receiver?.close();
  await surroundings?.remove();
  await database?.drop();
});

const at = (path: string) => receiver.url.replace("/hook", path);
const to = (path: string) => receiver.received.filter((message) => message.path === path);
const untilTo = (path: string, enough: (messages: Received[]) => boolean) => receiver.until(() => enough(to(path))).then(() => to(path));
const positionsIn = (messages: Received[]) =>
  messages.flatMap(({ message }) => (message.data.accesses as { position: string }[]).map(({ position }) => Number(position)));
const sorted = (numbers: number[]) => [...numbers].sort((a, b) => a - b);

/** Polls the rows until none of the tenant's is waiting. */
async function untilAllDelivered(tenantId: string) {
  for (;;) {
    const { rows } = await withClient(database.superuserUrl, (client) =>
      client.query("SELECT state FROM webhook_delivery WHERE tenant_id = $1 AND state <> 'DELIVERED'", [tenantId]),
    );
    if (rows.length === 0) return;
    expect(rows).toEqual(rows.map(() => ({ state: "PENDING" })));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("a server that is killed while receivers have its messages and have not answered: the next one sends each again, and none is lost", {
  timeout: 60_000,
}, async () => {
  const tenant = await createTestTenant(database);
  silent.add("/killed");
  const first = await spawnServer({ database, tenant, env: surroundings.env });
  const clients = webhookClients(first);
  const share = await createWarmedShare(first, tenant, { files: 6 });
  const { webhookId, secret } = await makeWebhook(clients.admin, { url: at("/killed"), eventTypes: ["warming.alert"] });
  clients.close();
  for (const [no, path] of share.paths.entries()) {
    await pushAccesses(share, [{ path }]);
    // Four are under way at once, the others wait their turn.
    if (no < 4) await untilTo("/killed", (messages) => messages.length > no);
  }
  await first.kill();
  const before = to("/killed");
  expect(before).toHaveLength(4);

  silent.delete("/killed");
  // As if the minute had passed in which they belong to the server that fell.
  await sql(first, "UPDATE webhook_delivery SET next_attempt_utc = now() WHERE webhook_id = $1 AND state = 'PENDING'", [webhookId]);
  const second = await spawnServer({ database, tenant, env: surroundings.env });
  const after = (await untilTo("/killed", (messages) => new Set(positionsIn(messages.slice(4))).size === 6)).slice(4);
  await untilAllDelivered(tenant.tenantId);
  await second.close();
  expect(sorted(positionsIn(after))).toEqual([1, 2, 3, 4, 5, 6]);
  expect(after.map(({ id }) => id)).toEqual(expect.arrayContaining(before.map(({ id }) => id)));
  const again = new Map(after.map((message) => [message.id, message]));
  for (const { id, body } of before) expect(again.get(id)?.body).toBe(body);
  expect(after.every((message) => isSignedWith(secret, message))).toBe(true);
  expect(await violationsOf(database)).toEqual([]);
});

test("two servers on one database: each message is sent, by either, and none twice", { timeout: 60_000 }, async () => {
  const tenant = await createTestTenant(database);
  const start = () => startTestServer({ database, tenant, env: surroundings.env });
  const servers = [await start(), await start()] as const;
  const clients = webhookClients(servers[0]);
  try {
    const share = await createWarmedShare(servers[0], tenant, { files: 10 });
    const paths = ["/one", "/two", "/three"];
    for (const path of paths) await makeWebhook(clients.admin, { url: at(path), eventTypes: ["warming.alert"] });
    for (let round = 0; round < 2; round += 1) {
      const trail = (which: number) => ({ ...share, server: servers[which] ?? servers[0] });
      // Each server takes its own node's trail.
      await Promise.all(
        [0, 1].map(async (which) => {
          for (const path of share.paths.slice(which * 5, which * 5 + 5))
            await pushAccesses(trail(which), [{ path }], `node ${which}/a.log`);
        }),
      );
    }
    const positions = Array.from({ length: 20 }, (_, no) => no + 1);
    for (const path of paths) await untilTo(path, (messages) => positionsIn(messages).length >= 20);
    await untilAllDelivered(tenant.tenantId);
    for (const path of paths) {
      expect(sorted(positionsIn(to(path)))).toEqual(positions);
      const ids = to(path).map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
    }
    const attempts = await sql(servers[0], "SELECT DISTINCT attempts FROM webhook_delivery WHERE tenant_id = $1", [tenant.tenantId]);
    expect(attempts).toEqual([{ attempts: 1 }]);
  } finally {
    clients.close();
    for (const server of servers) await server.close();
  }
});

test("four receivers that hang keep no place that is free from a fifth: the webhook with the fewest requests comes first", async () => {
  const { tenantId } = await createTestTenant(database);
  const { rows } = await withClient(database.superuserUrl, (client) =>
    client.query<{ webhook_id: string; deliveries: string[] }>(
      `WITH made AS (
         INSERT INTO webhook (tenant_id, url, description, event_types, include_paths, include_people, secret, warming_position, created_by)
         SELECT $1, 'https://x', n::text, '{scan.stale}', false, false, 's1.1.x', 0, 'test' FROM generate_series(1, 5) AS n RETURNING webhook_id, description::integer AS n
       ), delivery AS (
         -- Those of the first four have waited for longest.
         INSERT INTO webhook_delivery (tenant_id, webhook_id, event_type, facts, next_attempt_utc)
         SELECT $1, webhook_id, 'scan.stale', '{}', now() - make_interval(secs => 1000 - 100 * n) FROM made, generate_series(1, 10) RETURNING webhook_id
       )
       SELECT webhook_id FROM made ORDER BY n`,
      [tenantId],
    ),
  );
  const ids = rows.map(({ webhook_id: id }) => id);
  const claimedOf = async (busy: number[], limit: number) => {
    const claimed = await inTenant(pools.query, tenantId, (client) =>
      claimDue(client, tenantId, new Map(ids.map((id, at) => [id, busy[at] ?? 0])), limit),
    );
    return ids.map((id) => claimed.filter(({ webhookId }) => webhookId === id).length);
  };
  expect(await claimedOf([3, 4, 4, 4, 0], 1)).toEqual([0, 0, 0, 0, 1]);
  expect(await claimedOf([3, 3, 3, 3, 1], 3)).toEqual([1, 0, 0, 0, 2]);
  expect(await claimedOf([], 10)).toEqual([2, 2, 2, 2, 2]);
  expect(await claimedOf([], 100)).toEqual([4, 4, 4, 4, 4]);
});
