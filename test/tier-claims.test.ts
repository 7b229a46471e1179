/** Claims under leases: by many at once, by movers that vanish, and late reports. */
import { expect, test } from "vitest";
import { createPools } from "../src/db/pool.js";
import { TierAction, type TierClaim, TierReportCode, TierService } from "../src/gen/frostline/v1/tier_pb.js";
import { runMaintenance } from "./support/maintenance.js";
import { type Random, seededRandom } from "./support/random.js";
import { withTierServer } from "./support/tier-server.js";

const tier = withTierServer();

function claim(client = tier.agent, options: { action?: TierAction; limit?: number; leaseSeconds?: number; holder?: string } = {}) {
  const request = { action: TierAction.STUB, limit: 1000, leaseSeconds: 600, holder: "test mover", ...options };
  return client.unary(TierService.method.claimTierObjects, request).then(({ claims }) => claims);
}

function failed({ tierId, leaseToken }: TierClaim, client = tier.agent) {
  const report = { tierId, leaseToken, outcome: { case: "failed" as const, value: { reason: "disk full", fileUntouched: true } } };
  return client.unary(TierService.method.reportTierObjects, { reports: [report] }).then(({ results }) => results[0]);
}

/** Nothing is left over for the next test. */
async function clear(): Promise<void> {
  await tier.look("UPDATE tier_object SET state = 'DELETED', wanted_action = NULL");
}

/** One of 16: claims at its own pace until nothing is left; one that is `killed` goes away without a word after its first claims. */
async function claimer(no: number, killed: boolean, random: Random): Promise<TierClaim[]> {
  const client = tier.client("agent");
  const got: TierClaim[] = [];
  try {
    for (;;) {
      const claims = await claim(client, { limit: random.between(1, 150), holder: `claimer ${no}` });
      got.push(...claims);
      if (claims.length === 0 || killed) return got;
    }
  } finally {
    client.close();
  }
}

test("16 claimers at once over 10,000 objects: none is handed out twice, and those of claimers that were killed come back", {
  timeout: 120_000,
}, async () => {
  const random = seededRandom();
  const all = await tier.insert(10_000, { state: "PLANNED", wanted: "STUB" });
  const killed = (no: number) => no % 4 === 0;
  const byClaimer = await Promise.all(Array.from({ length: 16 }, (_, no) => claimer(no, killed(no), random)));
  const claims = byClaimer.flat();
  expect(new Set(claims.map(({ tierId }) => tierId)).size).toBe(claims.length);
  expect(claims.map(({ tierId }) => tierId).sort()).toEqual([...all].sort());
  expect(new Set(claims.map(({ leaseToken }) => leaseToken)).size).toBe(10_000);
  expect(claims[0]).toMatchObject({
    shareName: "films",
    action: TierAction.STUB,
    planned: { sizeBytes: 1000n },
    targetUri: "file:///cold",
    attempts: 0,
  });

  // As long as they have their leases nobody gets anything; then those of the killed are there again, and no others.
  expect(await claim()).toEqual([]);
  const orphans = byClaimer.filter((_, no) => killed(no)).flat();
  await tier.look(
    "UPDATE tier_object SET lease_until_utc = now() - interval '1 millisecond' WHERE lease_holder IN ('claimer 0', 'claimer 4', 'claimer 8', 'claimer 12')",
  );
  const again = (await Promise.all(Array.from({ length: 16 }, (_, no) => claimer(100 + no, false, random)))).flat();
  expect(again.map(({ tierId }) => tierId).sort()).toEqual(orphans.map(({ tierId }) => tierId).sort());
  expect(again.every(({ attempts }) => attempts === 1)).toBe(true);
  await clear();
});

test("a lease ends of itself", async () => {
  await tier.insert(3, { state: "PLANNED", wanted: "STUB" });
  const first = await claim(tier.agent, { leaseSeconds: 1 });
  expect(first).toHaveLength(3);
  let second: TierClaim[] = [];
  while (second.length === 0) second = await claim();
  expect(Date.now()).toBeGreaterThan(Number(first[0]?.leaseEndTime?.seconds) * 1000);
  expect(second.map(({ tierId }) => tierId)).toEqual(first.map(({ tierId }) => tierId));
  await clear();
});

test("a late report counts while nobody else has claimed the object, and not after that", async () => {
  await tier.insert(2, { state: "PLANNED", wanted: "STUB" });
  const [late, lost] = (await claim()) as [TierClaim, TierClaim];
  const pools = createPools(tier.server.database.runtimeUrl, { queryPoolMax: 2, ingestPoolMax: 1, onIdleError: () => {} });
  const runJobs = () => runMaintenance({ pool: pools.query, auditKeepDays: 7, signal: new AbortController().signal });
  // The server's own first run, if it is still at it, comes before.
  await expect.poll(async () => (await runJobs()).ran, { timeout: 20_000 }).toBe(true);
  await tier.look("UPDATE tier_object SET lease_until_utc = now() - interval '1 second' WHERE lease_token IS NOT NULL");
  // The background jobs give the leases back; a mover that is only late is still heard.
  const { ran, tier: done } = await runJobs();
  await pools.end();
  expect({ ran, returned: done.leasesReturned }).toEqual({ ran: true, returned: 2 });
  expect(await failed(late)).toMatchObject({ code: TierReportCode.ACCEPTED });

  const [next] = await claim(tier.agent, { holder: "another" });
  expect(next).toMatchObject({ tierId: lost.tierId, attempts: 1 });
  expect(await failed(lost)).toMatchObject({ code: TierReportCode.LEASE_LOST });
  const [row] = await tier.look("SELECT lease_holder, lease_token, attempts FROM tier_object WHERE tier_id = $1", [lost.tierId]);
  expect(row).toEqual({ lease_holder: "another", lease_token: next?.leaseToken, attempts: 1 });
  await clear();
});

test("progress renews a lease, and a lost one is not renewed", async () => {
  await tier.insert(1, { state: "PLANNED", wanted: "STUB" });
  const [held] = (await claim(tier.agent, { leaseSeconds: 5 })) as [TierClaim];
  const renew = async ({ tierId, leaseToken }: TierClaim) => {
    const report = { tierId, leaseToken, outcome: { case: "progress" as const, value: { leaseSeconds: 3600 } } };
    return (await tier.agent.unary(TierService.method.reportTierObjects, { reports: [report] })).results[0];
  };
  const renewed = await renew(held);
  expect(renewed).toMatchObject({ code: TierReportCode.ACCEPTED });
  expect(Number(renewed?.leaseEndTime?.seconds) - Number(held.leaseEndTime?.seconds)).toBeGreaterThan(3500);
  expect(await claim()).toEqual([]);
  await tier.look("UPDATE tier_object SET lease_until_utc = now() - interval '1 second' WHERE tier_id = $1", [held.tierId]);
  await claim();
  expect(await renew(held)).toMatchObject({ code: TierReportCode.LEASE_LOST });
  await clear();
});

test("a planned file that changed, went, or was written to is not handed out but cancelled", async () => {
  const ids = await tier.insert(6, { state: "PLANNED", wanted: "STUB" });
  const change = (at: number, set: string) =>
    tier.look(
      `UPDATE file_current c SET ${set} FROM tier_object t WHERE t.tier_id = $1 AND c.tenant_id = t.tenant_id AND c.file_current_id = t.file_current_id`,
      [ids[at]],
    );
  await change(0, "size_bytes = 1");
  await change(1, "mtime_unix = 1");
  await change(2, "stale_metadata = true");
  await change(3, "frn = 8");
  await tier.look("UPDATE tier_object SET planned_frn = 7 WHERE tier_id = $1", [ids[3]]);
  await change(4, "missing_since_scan_id = (SELECT max(scan_id) FROM scan)");
  // Not even when more is asked for than matches.
  expect((await claim(tier.agent, { limit: 1 })).map(({ tierId }) => tierId)).toEqual([ids[5]]);
  const rows = await tier.look<{ state: string }>("SELECT state FROM tier_object WHERE tier_id = ANY($1) ORDER BY tier_id", [ids]);
  // What is missing may come back; the background jobs see to it.
  expect(rows.map(({ state }) => state)).toEqual(["DELETED", "DELETED", "DELETED", "DELETED", "PLANNED", "PLANNED"]);
  await clear();
});

test("of a file that changed after its stub was announced, only what became of it is asked", async () => {
  const [tierId] = (await tier.insert(1, { state: "PLANNED", wanted: "STUB" })) as [bigint];
  await tier.look("UPDATE tier_object SET stub_size_bytes = 120, stub_mtime_unix = 5, object_uri = 'file:///cold/1' WHERE tier_id = $1", [
    tierId,
  ]);
  expect(await claim()).toMatchObject([{ tierId, settleOnly: false, stub: { sizeBytes: 120n, mtimeUnix: 5n } }]);
  await tier.look(
    "UPDATE file_current c SET size_bytes = 7 FROM tier_object t WHERE t.tier_id = $1 AND c.tenant_id = t.tenant_id AND c.file_current_id = t.file_current_id",
    [tierId],
  );
  await tier.look("UPDATE tier_object SET lease_until_utc = now() - interval '1 second' WHERE tier_id = $1", [tierId]);
  expect(await claim()).toMatchObject([{ tierId, settleOnly: true, objectUri: "file:///cold/1" }]);
  await clear();
});

test("claims are of one action and one share, and say so when they cannot be", async () => {
  await tier.insert(1, { state: "STUBBED", wanted: "REHYDRATE", objectUri: "file:///cold/2" });
  expect(await claim()).toEqual([]);
  const [back] = await claim(tier.agent, { action: TierAction.REHYDRATE });
  expect(back).toMatchObject({ action: TierAction.REHYDRATE, objectUri: "file:///cold/2", stub: { sizeBytes: 120n } });
  const ask = (wrong: object) =>
    tier.agent.unary(TierService.method.claimTierObjects, { action: TierAction.STUB, limit: 1, leaseSeconds: 1, holder: "x", ...wrong });
  await expect(ask({ shareName: "none" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  for (const wrong of [
    { action: 0 },
    { action: 9 },
    { limit: 0 },
    { limit: 1001 },
    { leaseSeconds: 0 },
    { leaseSeconds: 86_401 },
    { holder: "" },
  ])
    await expect(ask(wrong)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await clear();
});
