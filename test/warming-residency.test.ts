/** How long a rehydrated file is left alone. */
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { RuleSettings } from "../src/planner/rule-settings.js";
import { beginResidency, isResident } from "../src/warming/residency.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { createTestTenant } from "./support/tenant.js";
import { createWarmedShare, look, type WarmedShare } from "./support/warmed-share.js";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server?.close();
});

async function shareOf(settings?: Partial<RuleSettings>): Promise<WarmedShare> {
  return createWarmedShare(server, await createTestTenant(server.database), { files: 1, ...(settings && { settings }) });
}

/** The share's object comes back; its count of rehydrations, and the seconds from now that it is left alone. */
async function comeBack(share: WarmedShare): Promise<{ times: number; seconds: number }> {
  await asRuntime(share, async (client) => {
    const { rows } = await client.query<{ tier_id: string }>(
      "UPDATE tier_object SET state = 'REHYDRATED' WHERE tenant_id = $1 RETURNING tier_id",
      [share.tenant.tenantId],
    );
    await beginResidency(
      client,
      share.tenant.tenantId,
      rows.map(({ tier_id }) => BigInt(tier_id)),
    );
  });
  const [row] = await look<{ times: number; seconds: number }>(
    share,
    // What has passed since the transaction, at most a few seconds, is rounded away.
    "SELECT rehydration_count AS times, (round(extract(epoch FROM resident_until_utc - now()) / 50) * 50)::float8 AS seconds FROM tier_object WHERE tenant_id = $1",
  );
  return row as { times: number; seconds: number };
}

async function asRuntime(share: WarmedShare, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: server.database.runtimeUrl });
  await client.connect();
  await client.query(`BEGIN; SET LOCAL app.tenant_id = '${share.tenant.tenantId}'`);
  await work(client);
  await client.query("COMMIT");
  await client.end();
}

/** As if its residency had ended so long ago. */
async function residencyEnded(share: WarmedShare, secondsAgo: number): Promise<void> {
  await look(share, "UPDATE tier_object SET resident_until_utc = now() - make_interval(secs => $2) WHERE tenant_id = $1", secondsAgo);
}

test("each time that it comes back soon it stays longer, up to the longest; after a long rest it begins anew", async () => {
  const share = await shareOf({ residency_seconds: 1000, backoff_factor: 3, max_residency_seconds: 20_000 });
  expect(await comeBack(share)).toEqual({ times: 1, seconds: 1000 });
  await residencyEnded(share, 10);
  expect(await comeBack(share)).toEqual({ times: 2, seconds: 3000 });
  await residencyEnded(share, 19_900);
  expect(await comeBack(share)).toEqual({ times: 3, seconds: 9000 });
  expect(await comeBack(share)).toEqual({ times: 4, seconds: 20_000 });
  await residencyEnded(share, 20_100);
  expect(await comeBack(share)).toEqual({ times: 1, seconds: 1000 });
});

test("without a rule a week, doubled each time", async () => {
  const share = await shareOf();
  expect(await comeBack(share)).toEqual({ times: 1, seconds: 7 * 86_400 });
  expect(await comeBack(share)).toEqual({ times: 2, seconds: 14 * 86_400 });
});

test("no factor and no count is too large", async () => {
  const share = await shareOf({ residency_seconds: 1000, backoff_factor: 1e15, max_residency_seconds: 90_000 });
  await comeBack(share);
  await look(share, "UPDATE tier_object SET rehydration_count = 2000000000 WHERE tenant_id = $1");
  expect(await comeBack(share)).toEqual({ times: 2_000_000_001, seconds: 90_000 });
});

test("only REHYDRATED objects are resident, until their time is over", async () => {
  const share = await shareOf({ residency_seconds: 1000 });
  const resident = async () =>
    (
      await look(
        share,
        `SELECT ${isResident("t")} AS now, ${isResident("t", "now() + interval '1001 s'")} AS later FROM tier_object t WHERE tenant_id = $1`,
      )
    )[0];
  expect(await resident()).toEqual({ now: false, later: false });
  await comeBack(share);
  expect(await resident()).toEqual({ now: true, later: false });
  await look(share, "UPDATE tier_object SET state = 'PLANNED' WHERE tenant_id = $1");
  expect(await resident()).toEqual({ now: false, later: false });
  // No object at all: the nulls of an outer join.
  expect(await look(share, `SELECT ${isResident("t")} AS now FROM (SELECT $1::uuid) n LEFT JOIN tier_object t ON false`)).toEqual([
    { now: false },
  ]);
});
