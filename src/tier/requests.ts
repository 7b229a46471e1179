/** What operators ask for. Each all or nothing: of several objects, one that cannot leaves all as they were. */
import type { ClientBase, Pool } from "pg";
import { plainArray } from "../db/array-literals.js";
import { inTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { requireFile } from "../inventory/get-file.js";
import { requireShare } from "../tenancy/shares.js";
import { changeStates } from "./change-state.js";
import { planByIds } from "./plan-by-ids.js";
import { readTierObjects, type TierObjectRow } from "./tier-object.js";
import type { TierState, WantedAction } from "./transitions.js";
import { requestRehydration, requestTargetDeletion } from "./want.js";

/** Objects by id, or files of a share by path. */
export type Wanted = { tierIds: readonly bigint[] } | { shareName: string; paths: readonly string[] };

interface LockedObject {
  tier_id: bigint;
  state: TierState;
  wanted_action: WantedAction | null;
  leased: boolean;
  stubbing: boolean;
  has_copy: boolean;
}

/** Wants STUBBED files back. Throws NOT_FOUND, FAILED_PRECONDITION. */
export async function rehydrate(pool: Pool, tenantId: string, wanted: Wanted, reason: string, actor: string): Promise<TierObjectRow[]> {
  return inTenant(pool, tenantId, async (client) => {
    await planByIds(client);
    const tierIds = "tierIds" in wanted ? wanted.tierIds : await idsByPath(client, tenantId, wanted.shareName, wanted.paths);
    const objects = await lockAll(client, tenantId, tierIds);
    refuseIf(
      objects,
      ({ state }) => state !== "STUBBED",
      "NOT_STUBBED",
      ({ state }) => `is ${state}, and only STUBBED objects can be rehydrated`,
    );
    await requestRehydration(client, tenantId, tierIds, reason, actor);
    return readTierObjects(client, tenantId, tierIds);
  });
}

/** Wants copies at the target deleted. Throws NOT_FOUND, FAILED_PRECONDITION. */
export async function deleteTargets(
  pool: Pool,
  tenantId: string,
  tierIds: readonly bigint[],
  reason: string,
  actor: string,
): Promise<TierObjectRow[]> {
  return inTenant(pool, tenantId, async (client) => {
    await planByIds(client);
    const objects = await lockAll(client, tenantId, tierIds);
    refuseIf(
      objects,
      ({ state }) => state !== "REHYDRATED" && state !== "DELETED",
      "COPY_IN_USE",
      ({ state }) => `is ${state}: its copy is needed. Rehydrate it first`,
    );
    refuseIf(
      objects,
      ({ has_copy }) => !has_copy,
      "NO_COPY",
      () => "has no copy at the target that is known of",
    );
    await requestTargetDeletion(client, tenantId, tierIds, reason, actor);
    return readTierObjects(client, tenantId, tierIds);
  });
}

/** Withdraws what is wanted. Throws NOT_FOUND, FAILED_PRECONDITION. */
export async function cancel(
  pool: Pool,
  tenantId: string,
  tierIds: readonly bigint[],
  reason: string,
  actor: string,
): Promise<TierObjectRow[]> {
  return inTenant(pool, tenantId, async (client) => {
    await planByIds(client);
    const objects = await lockAll(client, tenantId, tierIds);
    refuseIf(
      objects,
      ({ wanted_action }) => wanted_action === null,
      "NOTHING_WANTED",
      ({ state }) => `is ${state}, and nothing is wanted of it`,
    );
    refuseIf(
      objects,
      ({ leased }) => leased,
      "LEASED",
      () => "is in a mover's hands. Try again when its lease has ended",
    );
    refuseIf(
      objects,
      ({ stubbing }) => stubbing,
      "STUB_ANNOUNCED",
      () => "may be stubbed already: a mover announced its stub, and did not report. The next claim finds out",
    );
    const planned = objects.filter(({ state }) => state === "PLANNED").map(({ tier_id }) => ({ tierId: tier_id, reason, actor }));
    await changeStates(client, tenantId, { to: "DELETED", cause: "cancelled", leased: false }, planned);
    await withdraw(
      client,
      tenantId,
      objects.filter(({ state }) => state !== "PLANNED").map(({ tier_id }) => tier_id),
      reason,
      actor,
    );
    return readTierObjects(client, tenantId, tierIds);
  });
}

async function withdraw(client: ClientBase, tenantId: string, tierIds: bigint[], reason: string, actor: string): Promise<void> {
  if (tierIds.length === 0) return;
  await client.query(
    `WITH withdrawn AS (
       UPDATE tier_object SET wanted_action = NULL, state_reason = nullif($3, ''), attempts = 0, retry_after_utc = NULL, lease_token = NULL,
         lease_holder = NULL, lease_until_utc = NULL
       WHERE tenant_id = $1 AND tier_id = ANY($2::bigint[])
       RETURNING share_id, file_current_id, state
     )
     INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, old_state, new_state, source, actor, reason)
     SELECT $1, 'tier', share_id, file_current_id, state, state, 'request_withdrawn', $4, nullif($3, '') FROM withdrawn`,
    [tenantId, plainArray(tierIds), reason, actor],
  );
}

async function lockAll(client: ClientBase, tenantId: string, tierIds: readonly bigint[]): Promise<LockedObject[]> {
  const { rows } = await client.query<LockedObject>(
    `SELECT tier_id, state, wanted_action, lease_until_utc >= now() IS TRUE AS leased, state = 'PLANNED' AND stub_size_bytes IS NOT NULL AS stubbing,
       object_uri IS NOT NULL AS has_copy
     FROM tier_object WHERE tenant_id = $1 AND tier_id = ANY($2::bigint[]) ORDER BY tier_id FOR UPDATE`,
    [tenantId, plainArray([...tierIds])],
  );
  const found = new Set(rows.map(({ tier_id }) => tier_id));
  const missing = tierIds.find((tierId) => !found.has(tierId));
  if (missing === undefined) return rows;
  throw new DomainError("NOT_FOUND", `There is no tier object ${missing}. Nothing was changed.`, {
    reason: "TIER_OBJECT_NOT_FOUND",
    metadata: { tier_id: String(missing) },
  });
}

function refuseIf(
  objects: LockedObject[],
  bad: (object: LockedObject) => boolean,
  reason: string,
  why: (object: LockedObject) => string,
): void {
  const object = objects.find(bad);
  if (object === undefined) return;
  throw new DomainError("FAILED_PRECONDITION", `Tier object ${object.tier_id} ${why(object)}. Nothing was changed.`, {
    reason,
    metadata: { tier_id: String(object.tier_id), state: object.state },
  });
}

async function idsByPath(client: ClientBase, tenantId: string, shareName: string, paths: readonly string[]): Promise<bigint[]> {
  const share = await requireShare(client, tenantId, shareName);
  const byFile = new Map<bigint, string>();
  for (const path of paths) byFile.set((await requireFile(client, tenantId, share, path)).file_current_id, path);
  const { rows } = await client.query<{ tier_id: bigint; file_current_id: bigint }>(
    "SELECT tier_id, file_current_id FROM tier_object WHERE tenant_id = $1 AND file_current_id = ANY($2::bigint[])",
    [tenantId, plainArray([...byFile.keys()])],
  );
  for (const { file_current_id } of rows) byFile.delete(file_current_id);
  const [path] = byFile.values();
  if (path === undefined) return rows.map(({ tier_id }) => tier_id);
  throw new DomainError("FAILED_PRECONDITION", `The file ${JSON.stringify(path)} was never planned to be tiered. Nothing was changed.`, {
    reason: "NOT_TIERED",
    metadata: { path },
  });
}
