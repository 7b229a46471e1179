/** Every state of a tier object with everything that movers, operators and the server may do to it: what is allowed happens, the rest changes nothing. */
import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createPools, type Pools } from "../src/db/pool.js";
import { inTenant } from "../src/db/tenant.js";
import { TierReportCode, type TierReportSchema, TierService, TierState } from "../src/gen/frostline/v1/tier_pb.js";
import { changeStates } from "../src/tier/change-state.js";
import { type Cause, mayChange, plannable, type TierState as StateName, tierStates } from "../src/tier/transitions.js";
import { type Scope, withTierServer } from "./support/tier-server.js";

const tier = withTierServer();

/** A state, what is wanted in it, and whether a mover has claimed that. */
const situations = [
  "PLANNED/STUB",
  "STUBBED/-",
  "STUBBED/REHYDRATE",
  "REHYDRATED/-",
  "REHYDRATED/DELETE_TARGET",
  "DELETED/-",
  "DELETED/DELETE_TARGET",
] as const;
type Situation = (typeof situations)[number];

const stamp = { sizeBytes: 1000n, mtimeUnix: 1_600_000_000n };
const stub = { sizeBytes: 120n, mtimeUnix: 1_600_000_000n };
const objectUri = "file:///cold/1";

type Outcome = Exclude<MessageInitShape<typeof TierReportSchema>["outcome"], undefined>;
const outcomes: Record<string, Outcome> = {
  progress: { case: "progress", value: { leaseSeconds: 60 } },
  announced: { case: "progress", value: { leaseSeconds: 60, stub, objectUri } },
  stubbed: { case: "stubbed", value: { seen: stamp, stub, objectUri } },
  rehydrated: { case: "rehydrated", value: { file: stamp } },
  targetDeleted: { case: "targetDeleted", value: {} },
  failed: { case: "failed", value: { reason: "disk full" } },
  skipped: { case: "skipped", value: { reason: "changed" } },
  fileGone: { case: "fileGone", value: {} },
};

/** What follows of a report, by hand: state and what is wanted then. Everything that is not here is refused. */
const allowed: Record<string, Partial<Record<Situation, string>>> = {
  progress: {
    "PLANNED/STUB": "PLANNED/STUB",
    "STUBBED/REHYDRATE": "STUBBED/REHYDRATE",
    "REHYDRATED/DELETE_TARGET": "REHYDRATED/DELETE_TARGET",
    "DELETED/DELETE_TARGET": "DELETED/DELETE_TARGET",
  },
  announced: { "PLANNED/STUB": "PLANNED/STUB" },
  stubbed: { "PLANNED/STUB": "STUBBED/-" },
  rehydrated: { "STUBBED/REHYDRATE": "REHYDRATED/-" },
  targetDeleted: { "REHYDRATED/DELETE_TARGET": "REHYDRATED/-", "DELETED/DELETE_TARGET": "DELETED/-" },
  failed: {
    "PLANNED/STUB": "PLANNED/STUB",
    "STUBBED/REHYDRATE": "STUBBED/REHYDRATE",
    "REHYDRATED/DELETE_TARGET": "REHYDRATED/DELETE_TARGET",
    "DELETED/DELETE_TARGET": "DELETED/DELETE_TARGET",
  },
  skipped: { "PLANNED/STUB": "DELETED/-", "STUBBED/REHYDRATE": "STUBBED/-" },
  fileGone: { "PLANNED/STUB": "DELETED/-", "STUBBED/REHYDRATE": "DELETED/-", "REHYDRATED/DELETE_TARGET": "DELETED/-" },
};

/** An object in a situation, with a claim where something is wanted; of the others, with the token of an older one. */
async function put(situation: Situation): Promise<{ tierId: bigint; leaseToken: string }> {
  const [state, wanted] = situation.split("/") as [string, string];
  const leaseToken = randomUUID();
  const [tierId] = await tier.insert(1, {
    state,
    wanted: wanted === "-" ? null : wanted,
    leaseToken,
    leaseSeconds: wanted === "-" ? null : 600,
    objectUri: state === "PLANNED" ? null : objectUri,
  });
  return { tierId: tierId as bigint, leaseToken };
}

async function situationOf(tierId: bigint): Promise<string> {
  const [row] = await tier.look<{ now: string }>(
    "SELECT state || '/' || coalesce(wanted_action, '-') AS now FROM tier_object WHERE tier_id = $1",
    [tierId],
  );
  return row?.now ?? "gone";
}

/** The whole row, and how many changes the log has of it. */
async function everythingOf(tierId: bigint): Promise<unknown> {
  const [row] = await tier.look(
    `SELECT to_jsonb(t) AS object, (SELECT count(*)::integer FROM audit_log a WHERE a.tenant_id = t.tenant_id AND a.file_current_id = t.file_current_id) AS logged
     FROM tier_object t WHERE tier_id = $1`,
    [tierId],
  );
  return row;
}

describe("reports", () => {
  for (const [name, outcome] of Object.entries(outcomes)) {
    test.each(situations)(`${name} of %s`, async (situation) => {
      const object = await put(situation);
      const before = await everythingOf(object.tierId);
      const { results } = await tier.agent.unary(TierService.method.reportTierObjects, { reports: [{ ...object, outcome }] });
      const expected = allowed[name]?.[situation];
      if (expected === undefined) {
        expect(results[0]).toMatchObject({
          code: TierReportCode.FAILED_PRECONDITION,
          state: TierState[situation.split("/")[0] as StateName],
        });
        expect(await everythingOf(object.tierId)).toEqual(before);
        return;
      }
      expect(results[0]).toMatchObject({
        code: TierReportCode.ACCEPTED,
        message: "",
        state: TierState[expected.split("/")[0] as StateName],
      });
      expect(await situationOf(object.tierId)).toBe(expected);
      const changed = expected.split("/")[0] !== situation.split("/")[0];
      const [log] = await tier.look<{ told: number }>(
        `SELECT count(*)::integer AS told FROM audit_log a JOIN tier_object t ON t.tenant_id = a.tenant_id AND t.file_current_id = a.file_current_id
         WHERE t.tier_id = $1 AND a.kind = 'tier' AND a.actor = 'test mover' AND a.old_state = $2 AND a.new_state = $3`,
        [object.tierId, situation.split("/")[0], expected.split("/")[0]],
      );
      expect(log?.told).toBe(changed || name === "targetDeleted" ? 1 : 0);
    });
  }

  test("the same report again gets the same answer, another one of the same claim is refused", async () => {
    for (const [name, byState] of Object.entries(allowed)) {
      if (name === "progress" || name === "announced") continue;
      for (const situation of Object.keys(byState) as Situation[]) {
        const report = { ...(await put(situation)), outcome: outcomes[name] as Outcome };
        const first = await tier.agent.unary(TierService.method.reportTierObjects, { reports: [report] });
        const after = await everythingOf(report.tierId);
        expect(await tier.agent.unary(TierService.method.reportTierObjects, { reports: [report] })).toEqual(first);
        const other = outcomes[name === "failed" ? "skipped" : "failed"] as Outcome;
        const late = await tier.agent.unary(TierService.method.reportTierObjects, { reports: [{ ...report, outcome: other }] });
        expect(late.results[0]).toMatchObject({ code: TierReportCode.FAILED_PRECONDITION });
        expect(await everythingOf(report.tierId)).toEqual(after);
      }
    }
  });

  test("a file that was not as claimed, or not put back as it was, is refused", async () => {
    const [planned, stubbed] = [await put("PLANNED/STUB"), await put("STUBBED/REHYDRATE")];
    await tier.look("UPDATE tier_object SET planned_frn = 5 WHERE tier_id = ANY($1)", [[planned.tierId, stubbed.tierId]]);
    for (const seen of [
      { ...stamp, sizeBytes: 999n },
      { ...stamp, mtimeUnix: 1n },
      { ...stamp, frn: 6n },
    ]) {
      const { results } = await tier.agent.unary(TierService.method.reportTierObjects, {
        reports: [{ ...planned, outcome: { case: "stubbed", value: { seen, stub, objectUri } } }],
      });
      expect(results[0]?.code).toBe(TierReportCode.FAILED_PRECONDITION);
    }
    const { results } = await tier.agent.unary(TierService.method.reportTierObjects, {
      reports: [
        { ...planned, outcome: { case: "stubbed", value: { seen: { ...stamp, frn: 5n }, stub, objectUri } } },
        { ...stubbed, outcome: { case: "rehydrated", value: { file: { ...stamp, mtimeUnix: 2n } } } },
      ],
    });
    expect(results.map(({ code }) => code)).toEqual([TierReportCode.ACCEPTED, TierReportCode.FAILED_PRECONDITION]);
  });

  test("one bad item does not keep the others", async () => {
    const [good, other] = [await put("PLANNED/STUB"), await put("PLANNED/STUB")];
    const { results } = await tier.agent.unary(TierService.method.reportTierObjects, {
      reports: [
        { tierId: 999_999_999n, leaseToken: randomUUID(), outcome: outcomes.failed as Outcome },
        { ...other, leaseToken: randomUUID(), outcome: outcomes.failed as Outcome },
        { ...good, outcome: outcomes.stubbed as Outcome },
        { tierId: 5n, leaseToken: "", outcome: { case: "progress", value: { leaseSeconds: 0 } } },
        { tierId: 6n, leaseToken: "" },
        { tierId: 7n, leaseToken: "no token", outcome: { case: "stubbed", value: { seen: stamp, objectUri } } },
      ],
    });
    expect(results.map(({ code }) => TierReportCode[code])).toEqual([
      "NOT_FOUND",
      "LEASE_LOST",
      "ACCEPTED",
      "INVALID_ARGUMENT",
      "INVALID_ARGUMENT",
      "INVALID_ARGUMENT",
    ]);
    expect(await situationOf(good.tierId)).toBe("STUBBED/-");
    expect(await situationOf(other.tierId)).toBe("PLANNED/STUB");
    await expect(tier.agent.unary(TierService.method.reportTierObjects, { reports: [{ ...other }, { ...other }] })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });

  test("after a failure it is handed out later and later, up to six hours", async () => {
    const { tierId } = await put("PLANNED/STUB");
    const waits: number[] = [];
    for (let attempt = 0; attempt < 12; attempt += 1) {
      const leaseToken = randomUUID();
      await tier.look(
        "UPDATE tier_object SET lease_token = $2, lease_until_utc = now() + interval '1 minute', lease_holder = 'm' WHERE tier_id = $1",
        [tierId, leaseToken],
      );
      await tier.agent.unary(TierService.method.reportTierObjects, {
        reports: [{ tierId, leaseToken, outcome: outcomes.failed as Outcome }],
      });
      const [row] = await tier.look<{ wait: number }>(
        "SELECT round(extract(epoch FROM retry_after_utc - now()) / 30)::integer AS wait FROM tier_object WHERE tier_id = $1",
        [tierId],
      );
      waits.push(row?.wait ?? 0);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 720, 720]);
  });
});

/** What follows of an operator's request, by hand. */
const requested: Record<"rehydrate" | "cancel" | "deleteTarget", Partial<Record<Situation, string>>> = {
  rehydrate: { "STUBBED/-": "STUBBED/REHYDRATE", "STUBBED/REHYDRATE": "STUBBED/REHYDRATE" },
  cancel: {
    "PLANNED/STUB": "DELETED/-",
    "STUBBED/REHYDRATE": "STUBBED/-",
    "REHYDRATED/DELETE_TARGET": "REHYDRATED/-",
    "DELETED/DELETE_TARGET": "DELETED/-",
  },
  deleteTarget: {
    "REHYDRATED/-": "REHYDRATED/DELETE_TARGET",
    "REHYDRATED/DELETE_TARGET": "REHYDRATED/DELETE_TARGET",
    "DELETED/-": "DELETED/DELETE_TARGET",
    "DELETED/DELETE_TARGET": "DELETED/DELETE_TARGET",
  },
};
const request = {
  rehydrate: (tierIds: bigint[]) => tier.operator.unary(TierService.method.requestRehydration, { tierIds, reason: "why" }),
  cancel: (tierIds: bigint[]) => tier.operator.unary(TierService.method.cancelTierObjects, { tierIds, reason: "why" }),
  deleteTarget: (tierIds: bigint[]) => tier.operator.unary(TierService.method.requestTargetDeletion, { tierIds, reason: "why" }),
};

describe("requests", () => {
  for (const name of ["rehydrate", "cancel", "deleteTarget"] as const) {
    test.each(situations)(`${name} of %s`, async (situation) => {
      const { tierId } = await put(situation);
      // Nobody is at work on it.
      await tier.look("UPDATE tier_object SET lease_until_utc = NULL, lease_holder = NULL WHERE tier_id = $1", [tierId]);
      const before = await everythingOf(tierId);
      const expected = requested[name][situation];
      if (expected === undefined) {
        await expect(request[name]([tierId])).rejects.toMatchObject({ code: "FAILED_PRECONDITION", metadata: { tier_id: String(tierId) } });
        expect(await everythingOf(tierId)).toEqual(before);
      } else {
        const { objects } = await request[name]([tierId]);
        expect(objects).toMatchObject([{ tierId, state: TierState[expected.split("/")[0] as StateName] }]);
        expect(await situationOf(tierId)).toBe(expected);
      }
    });

    test(`${name} is all or nothing`, async () => {
      const [good, bad] = [
        await put(Object.keys(requested[name])[0] as Situation),
        await put(name === "rehydrate" ? "PLANNED/STUB" : "STUBBED/-"),
      ];
      await tier.look("UPDATE tier_object SET lease_until_utc = NULL WHERE tier_id = ANY($1)", [[good.tierId, bad.tierId]]);
      const before = await everythingOf(good.tierId);
      await expect(request[name]([good.tierId, bad.tierId])).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
      await expect(request[name]([good.tierId, 999_999_999n])).rejects.toMatchObject({ code: "NOT_FOUND" });
      expect(await everythingOf(good.tierId)).toEqual(before);
    });
  }

  test("what a mover has in its hands, or may have stubbed already, is not cancelled", async () => {
    const { tierId } = await put("PLANNED/STUB");
    await expect(request.cancel([tierId])).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "LEASED" });
    await tier.look(
      "UPDATE tier_object SET lease_until_utc = now() - interval '1 second', stub_size_bytes = 1, stub_mtime_unix = 1 WHERE tier_id = $1",
      [tierId],
    );
    await expect(request.cancel([tierId])).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "STUB_ANNOUNCED" });
    await tier.look("UPDATE tier_object SET stub_size_bytes = NULL, stub_mtime_unix = NULL WHERE tier_id = $1", [tierId]);
    await request.cancel([tierId]);
    expect(await situationOf(tierId)).toBe("DELETED/-");
  });

  test("by path; a file that was never planned, and one that does not exist, are refused", async () => {
    const { tierId } = await put("STUBBED/-");
    const [row] = await tier.look<{ name: string }>(
      "SELECT c.name FROM tier_object t JOIN file_current c USING (tenant_id, file_current_id) WHERE tier_id = $1",
      [tierId],
    );
    const path = `/${row?.name}`;
    const ask = (paths: string[]) =>
      tier.operator.unary(TierService.method.requestRehydration, { shareName: "films", paths, reason: "why" });
    await expect(ask([path, "/nothing"])).rejects.toMatchObject({ code: "NOT_FOUND", reason: "FILE_NOT_FOUND" });
    const untiered = await tier.insertFile();
    await expect(ask([path, `/${untiered}`])).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "NOT_TIERED" });
    expect(await situationOf(tierId)).toBe("STUBBED/-");
    expect((await ask([path])).objects).toMatchObject([{ tierId, path }]);
    expect(await situationOf(tierId)).toBe("STUBBED/REHYDRATE");
  });

  test("movers may not ask, readers may not claim", async () => {
    await expect(tier.agent.unary(TierService.method.cancelTierObjects, { tierIds: [1n] })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
    for (const scope of ["reader"] satisfies Scope[]) {
      const client = tier.client(scope);
      await expect(client.unary(TierService.method.claimTierObjects, {})).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
      client.close();
    }
  });
});

test("a plan takes files whose objects are REHYDRATED or DELETED, and of which nothing is wanted", async () => {
  const objects = new Map<bigint, Situation>();
  for (const situation of situations) objects.set((await put(situation)).tierId, situation);
  const rows = await tier.look<{ tier_id: string }>(`SELECT tier_id FROM tier_object t WHERE tier_id = ANY($1) AND ${plannable("t")}`, [
    [...objects.keys()],
  ]);
  expect(rows.map(({ tier_id }) => objects.get(BigInt(tier_id))).sort()).toEqual(["DELETED/-", "REHYDRATED/-"]);
  for (const [from, may] of [
    [undefined, true],
    ["PLANNED", false],
    ["STUBBED", false],
    ["REHYDRATED", true],
    ["DELETED", true],
  ] as const)
    expect(mayChange(from, "PLANNED", "plan"), from).toBe(may);
});

/** What the server itself may change, by hand. */
const changes: [StateName, StateName, Cause][] = [
  ["PLANNED", "STUBBED", "stubbed"],
  ["PLANNED", "DELETED", "cancelled"],
  ["PLANNED", "DELETED", "no_longer_matching"],
  ["PLANNED", "DELETED", "file_gone"],
  ["STUBBED", "REHYDRATED", "rehydrated"],
  ["STUBBED", "REHYDRATED", "stub_overwritten"],
  ["STUBBED", "DELETED", "file_gone"],
  ["REHYDRATED", "DELETED", "file_gone"],
];
const causes: Cause[] = ["stubbed", "rehydrated", "stub_overwritten", "cancelled", "no_longer_matching", "file_gone"];

describe("every pair of states", () => {
  let pools: Pools;
  beforeAll(() => {
    pools = createPools(tier.server.database.runtimeUrl, { queryPoolMax: 2, ingestPoolMax: 1, onIdleError: () => {} });
  });
  afterAll(() => pools.end());

  for (const from of tierStates) {
    test.each(tierStates)(`${from} to %s`, async (to) => {
      for (const cause of causes) {
        const [tierId] = (await tier.insert(1, { state: from, wanted: null })) as [bigint];
        const before = await everythingOf(tierId);
        const changed = await inTenant(pools.query, tier.server.tenantId, (client) =>
          changeStates(client, tier.server.tenantId, { to, cause, leased: true }, [{ tierId, reason: "why", actor: "who" }]),
        );
        const may = changes.some(([a, b, c]) => a === from && b === to && c === cause);
        expect(changed, cause).toEqual(may ? [tierId] : []);
        if (!may) expect(await everythingOf(tierId), cause).toEqual(before);
        else
          expect(
            await tier.look(
              `SELECT a.old_state, a.new_state, a.source, a.actor, a.reason FROM audit_log a
               JOIN tier_object t ON t.tenant_id = a.tenant_id AND t.file_current_id = a.file_current_id WHERE t.tier_id = $1`,
              [tierId],
            ),
          ).toEqual([{ old_state: from, new_state: to, source: cause, actor: "who", reason: "why" }]);
      }
    });
  }
});
