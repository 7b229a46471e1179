/** What an access to a tiered file sets off: an event, a count, a request to rehydrate, a storm. */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { AuditAction, AuditExclusionKind, AuditService } from "../src/gen/frostline/v1/audit_pb.js";
import { WarmingService } from "../src/gen/frostline/v1/warming_pb.js";
import type { RuleSettings } from "../src/planner/rule-settings.js";
import { violationsOf } from "./support/audited-share.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { createTestTenant } from "./support/tenant.js";
import { createWarmedShare, look, pushAccesses, type WarmedShare } from "./support/warmed-share.js";

const minuteMs = 60_000;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server?.close();
});

/** A tenant of its own for each test. */
async function shareOf(files: number, settings?: Partial<RuleSettings>): Promise<WarmedShare> {
  return createWarmedShare(server, await createTestTenant(server.database), { files, ...(settings && { settings }) });
}

function rehydrateAfter(accesses: number, windowSeconds = 3600): Partial<RuleSettings> {
  return { warming: { action: "rehydrate", accesses, window_seconds: windowSeconds } };
}

/** Names of files that are wanted back. */
async function wanted(share: WarmedShare): Promise<string[]> {
  const rows = await look<{ name: string }>(
    share,
    `SELECT c.name FROM tier_object t JOIN file_current c USING (tenant_id, file_current_id) WHERE t.tenant_id = $1 AND t.wanted_action = 'REHYDRATE' ORDER BY 1`,
  );
  return rows.map(({ name }) => name);
}

async function listEvents(share: WarmedShare, filter: { path?: string; user?: string } = {}) {
  const client = createClient({ server: server.address, key: share.tenant.keys.reader });
  const { shareName } = share;
  const page = await client.unary(WarmingService.method.listWarmingEvents, { shareName, ...filter }).finally(client.close);
  return page.events;
}

async function listStorms(share: WarmedShare) {
  const client = createClient({ server: server.address, key: share.tenant.keys.reader });
  return (await client.unary(WarmingService.method.listWarmingStorms, {}).finally(client.close)).storms;
}

async function setLimit(share: WarmedShare, filesPerMinute: number): Promise<void> {
  const client = createClient({ server: server.address, key: share.tenant.keys.operator });
  await client.unary(WarmingService.method.setStormLimit, { shareName: share.shareName, filesPerMinute }).finally(client.close);
}

/** The begin of a minute some time ago, so that no minute ends while a test runs. */
function minuteAgo(minutes: number): number {
  return Math.floor(Date.now() / minuteMs - minutes) * minuteMs;
}

test("an access makes an event with user and host, and is counted on the object; an excluded user's makes none", async () => {
  const share = await shareOf(3);
  const operator = createClient({ server: server.address, key: share.tenant.keys.operator });
  const exclusion = { kind: AuditExclusionKind.USER, value: "scanner" };
  await operator.unary(AuditService.method.addAuditExclusion, { exclusion }).finally(operator.close);
  const [first, second, third] = share.paths as [string, string, string];
  const timeMs = Date.now() - 5000;
  await pushAccesses(share, [
    { path: first, user: "ann", host: "desk", timeMs },
    { path: second, user: "scanner", timeMs: timeMs + 1 },
    { path: third, user: "", host: "", timeMs: timeMs + 2, action: AuditAction.WRITE },
    { path: first, user: "bob", host: "laptop", timeMs: timeMs + 3000 },
  ]);
  const events = await listEvents(share);
  expect(
    events.map(({ position, path, user, host, ruleName, sizeBytes }) => ({ position, path, user, host, ruleName, sizeBytes })),
  ).toEqual([
    { position: 1n, path: first, user: "ann", host: "desk", ruleName: "", sizeBytes: 1000n },
    { position: 2n, path: third, user: "", host: "", ruleName: "", sizeBytes: 1002n },
    { position: 3n, path: first, user: "bob", host: "laptop", ruleName: "", sizeBytes: 1000n },
  ]);
  const counted = await look(
    share,
    `SELECT t.access_count::integer AS accesses, (extract(epoch FROM t.last_accessed_utc) * 1000)::bigint::text AS last
     FROM tier_object t JOIN file_current c USING (tenant_id, file_current_id) WHERE t.tenant_id = $1 ORDER BY c.name`,
  );
  expect(counted).toEqual([
    { accesses: 2, last: String(timeMs + 3000) },
    { accesses: 0, last: null },
    { accesses: 1, last: String(timeMs + 2) },
  ]);
  expect((await listEvents(share, { user: "bob" })).map(({ position }) => position)).toEqual([3n]);
  expect((await listEvents(share, { path: third })).map(({ position }) => position)).toEqual([2n]);
  expect((await listEvents(share, { path: "/reel" })).map(({ position }) => position)).toEqual([1n, 2n, 3n]);
  expect(await violationsOf(server.database)).toEqual([]);
});

test("two accesses within one second, and one that comes late, move no access time and are accesses all the same", async () => {
  const share = await shareOf(1);
  const [path] = share.paths as [string];
  const timeMs = minuteAgo(1);
  const counts = await pushAccesses(share, [
    { path, timeMs },
    { path, timeMs: timeMs + 1 },
    { path, timeMs: timeMs - 5000 },
  ]);
  expect(counts).toMatchObject({ applied: 1n, stale: 2n });
  expect((await listEvents(share)).map(({ eventTime }) => eventTime && timestampMs(eventTime))).toEqual([
    timeMs,
    timeMs + 1,
    timeMs - 5000,
  ]);
});

test("what was accessed before it was stubbed, or is stubbed no more, is no warming", async () => {
  const share = await shareOf(2, rehydrateAfter(1));
  await look(
    share,
    `UPDATE tier_object SET state = 'REHYDRATED'
     WHERE tenant_id = $1 AND file_current_id = (SELECT file_current_id FROM file_current WHERE tenant_id = $1 AND name = 'take 1.mov')`,
  );
  const [first, second] = share.paths as [string, string];
  await pushAccesses(share, [{ path: first, timeMs: Date.now() - 3_700_000 }, { path: second }]);
  expect(await listEvents(share)).toEqual([]);
  expect(await wanted(share)).toEqual([]);
  await pushAccesses(share, [{ path: first, timeMs: Date.now() - 3_500_000 }]);
  expect(await listEvents(share)).toHaveLength(1);
  expect(await wanted(share)).toEqual(["take 0.mov"]);
});

test("a file is wanted back after as many accesses within the window as its rule says, in one batch or in several", async () => {
  const share = await shareOf(4, rehydrateAfter(3, 600));
  const [inOne, inThree, apart, few] = share.paths as [string, string, string, string];
  const now = Date.now();
  const at = (path: string, agoSeconds: number) => ({ path, timeMs: now - agoSeconds * 1000 });
  await pushAccesses(share, [at(inOne, 3), at(inOne, 2), at(inOne, 1), at(inThree, 590), at(apart, 1300), at(few, 9)]);
  await pushAccesses(share, [at(inThree, 300), at(apart, 610), at(few, 8)]);
  expect(await wanted(share)).toEqual(["take 0.mov"]);
  await pushAccesses(share, [at(inThree, 0), at(apart, 5)]);
  expect(await wanted(share)).toEqual(["take 0.mov", "take 1.mov"]);
  const log = await look(
    share,
    "SELECT source, actor, old_state, new_state, reason <> '' AS told FROM audit_log WHERE tenant_id = $1 AND kind = 'tier' ORDER BY file_current_id",
  );
  expect(log).toEqual(
    Array(2).fill({ source: "rehydration_requested", actor: null, old_state: "STUBBED", new_state: "STUBBED", told: true }),
  );
});

test("accesses from the last time it was stubbed do not count again", async () => {
  const share = await shareOf(1, rehydrateAfter(2));
  const [path] = share.paths as [string];
  await pushAccesses(share, [{ path }]);
  await look(share, "UPDATE tier_object SET acted_utc = clock_timestamp() WHERE tenant_id = $1");
  await pushAccesses(share, [{ path, timeMs: Date.now() + 1000 }]);
  expect(await wanted(share)).toEqual([]);
  await pushAccesses(share, [{ path, timeMs: Date.now() + 2000 }]);
  expect(await wanted(share)).toEqual(["take 0.mov"]);
});

test("the policy is that of the rule's version in force; with an alert alone nothing is asked for", async () => {
  const share = await shareOf(1, { warming: { action: "alert", accesses: 1, window_seconds: 60 } });
  const [path] = share.paths as [string];
  await pushAccesses(share, [{ path }]);
  expect(await listEvents(share)).toHaveLength(1);
  expect(await wanted(share)).toEqual([]);
  await look(share, "UPDATE tier_rule SET retired_utc = now(), retired_by = 'test' WHERE tenant_id = $1");
  await look(
    share,
    `INSERT INTO tier_rule (tenant_id, version, rule_name, priority, expression, target_uri, settings, created_by)
     SELECT tenant_id, 2, rule_name, priority, expression, target_uri, jsonb_set(settings, '{warming,action}', '"rehydrate"'), 'test' FROM tier_rule WHERE tenant_id = $1`,
  );
  await pushAccesses(share, [{ path }]);
  expect(await wanted(share)).toEqual(["take 0.mov"]);
});

test("more files in a minute than the limit are a storm: one alarm, and nothing is called back while it lasts", async () => {
  const share = await shareOf(12, rehydrateAfter(1));
  await setLimit(share, 5);
  const begin = minuteAgo(30);
  const reads = (from: number, to: number, timeMs: number) =>
    share.paths.slice(from, to).map((path, i) => ({ path, timeMs: timeMs + i * 1000 }));
  // Just the limit, and one file again and again: no storm.
  await pushAccesses(share, [
    ...reads(0, 5, begin),
    ...Array.from({ length: 9 }, (_, i) => ({ path: share.paths[0] as string, timeMs: begin + 20_000 + i })),
  ]);
  expect(await listStorms(share)).toEqual([]);
  expect(await wanted(share)).toHaveLength(5);
  // One more, in another batch; then four minutes later, in the quiet time.
  await pushAccesses(share, reads(5, 6, begin + 30_000));
  await pushAccesses(share, reads(6, 7, begin + 4 * minuteMs));
  expect(await wanted(share)).toHaveLength(5);
  expect(await listStorms(share)).toMatchObject([{ position: 15n, shareName: "warmed", files: 6n, filesPerMinuteLimit: 5n, accesses: 2n }]);
  // It goes on: the quiet time begins anew.
  await pushAccesses(share, reads(0, 6, begin + 5 * minuteMs));
  await pushAccesses(share, reads(7, 8, begin + 10 * minuteMs));
  expect(await wanted(share)).toHaveLength(5);
  const [storm, ...others] = await listStorms(share);
  expect(others).toEqual([]);
  expect(storm).toMatchObject({
    accesses: 9n,
    beginTime: { seconds: BigInt(begin / 1000) },
    endTime: { seconds: BigInt(begin / 1000 + 11 * 60) },
  });
  // Over: what comes now counts, what came in the storm does not.
  await pushAccesses(share, reads(8, 9, begin + 11 * minuteMs));
  expect(await wanted(share)).toHaveLength(6);
  expect((await listEvents(share)).filter(({ inStorm }) => inStorm)).toHaveLength(9);
  expect(await violationsOf(server.database)).toEqual([]);
});

test("a backlog read at once is judged by when things happened", async () => {
  const share = await shareOf(30, rehydrateAfter(1));
  await setLimit(share, 5);
  const begin = minuteAgo(50);
  // A file a minute, and ten within one.
  const calm = share.paths.slice(0, 20).map((path, i) => ({ path, timeMs: begin + i * minuteMs }));
  const busy = share.paths.slice(20, 30).map((path, i) => ({ path, timeMs: begin + 30 * minuteMs + i }));
  await pushAccesses(share, [...calm, ...busy]);
  expect(await wanted(share)).toHaveLength(20);
  expect(await listStorms(share)).toMatchObject([{ position: 1n, files: 10n, accesses: 10n }]);
});

test("pages of events and storms are whole, and filters that name nothing are refused", async () => {
  const share = await shareOf(7);
  await setLimit(share, 1);
  const begin = minuteAgo(40);
  await pushAccesses(
    share,
    share.paths.flatMap((path, i) => [1, 2].map((n) => ({ path, timeMs: begin + n * 10 * minuteMs + i }))),
  );
  const client = createClient({ server: server.address, key: share.tenant.keys.reader });
  const pagesOf = async (read: (pageToken: string) => Promise<{ found: { position: bigint }[]; next: string }>): Promise<bigint[]> => {
    const positions: bigint[] = [];
    for (let page = await read(""); ; page = await read(page.next)) {
      for (const { position } of page.found) positions.push(position);
      if (page.next === "") return positions;
    }
  };
  const eventPages = pagesOf(async (pageToken) => {
    const { events, nextPageToken } = await client.unary(WarmingService.method.listWarmingEvents, { pageSize: 3, pageToken });
    return { found: events, next: nextPageToken };
  });
  const stormPages = pagesOf(async (pageToken) => {
    const { storms, nextPageToken } = await client.unary(WarmingService.method.listWarmingStorms, { pageSize: 1, pageToken });
    return { found: storms, next: nextPageToken };
  });
  expect(await stormPages).toEqual([1n, 2n]);
  expect(await eventPages).toEqual(Array.from({ length: 14 }, (_, i) => BigInt(i + 3)));
  // Long names of users make a page end before it is too large for a message.
  const long = { path: share.paths[0] as string, user: "\u{1f600}".repeat(200), host: "h".repeat(400) };
  for (const auditFilePath of ["node/long 1.log", "node/long 2.log"]) await pushAccesses(share, Array(2500).fill(long), auditFilePath);
  const { events, nextPageToken } = await client.unary(WarmingService.method.listWarmingEvents, { pageSize: 10_000 });
  expect(events.length).toBeGreaterThan(100);
  expect(events.length).toBeLessThan(5000);
  expect(nextPageToken).not.toBe("");
  const refused = (request: object) => client.unary(WarmingService.method.listWarmingEvents, request);
  await expect(refused({ shareName: "none" })).rejects.toMatchObject({ code: "NOT_FOUND", reason: "SHARE_NOT_FOUND" });
  await expect(refused({ path: "/reel" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await expect(refused({ shareName: "warmed", path: "/none" })).rejects.toMatchObject({ code: "NOT_FOUND", reason: "FILE_NOT_FOUND" });
  const limit = client.unary(WarmingService.method.setStormLimit, { shareName: "warmed", filesPerMinute: 3 });
  await expect(limit).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  client.close();
  await expect(setLimit(share, 0)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});
