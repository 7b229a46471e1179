/** Holds: paths of a share that are never planned. */
import type { ClientBase, Pool } from "pg";
import { inTenant, readTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { actorOf } from "../tenancy/actor.js";
import { requireShare } from "../tenancy/shares.js";
import { invalidField } from "../tenancy/validate.js";
import { globFault } from "./cel/glob.js";
import { holdsOfShareAtMost } from "./held.js";

export interface Hold {
  hold_id: bigint;
  share_name: string;
  path_glob: string;
  reason: string;
  created_by: string;
  created_utc: Date;
}

const reasonCharsAtMost = 1000;

/** Safe to repeat: the hold that is there stays as it is. Throws NOT_FOUND (share), INVALID_ARGUMENT, RESOURCE_EXHAUSTED (too many). */
export async function addHold(
  pool: Pool,
  tenantId: string,
  callerId: string,
  { shareName, pathGlob, reason }: { shareName: string; pathGlob: string; reason: string },
): Promise<Hold> {
  assertGlob(pathGlob);
  if (reason === "" || reason.length > reasonCharsAtMost || reason.includes("\0"))
    throw invalidField("reason", `must have 1 to ${reasonCharsAtMost} characters, and no NUL.`);
  return inTenant(pool, tenantId, async (client) => {
    const share = await requireShare(client, tenantId, shareName);
    const values = [tenantId, share.share_id, pathGlob, reason, await actorOf(client, tenantId, callerId)];
    // Again where the hold that was there is removed at the same moment.
    for (;;) {
      await client.query(
        "INSERT INTO hold (tenant_id, share_id, path_glob, reason, created_by) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        values,
      );
      const holds = await loadHolds(client, tenantId, share.share_id);
      if (holds.length > holdsOfShareAtMost) throw tooMany(shareName);
      const hold = holds.find(({ path_glob }) => path_glob === pathGlob);
      if (hold !== undefined) return hold;
    }
  });
}

function assertGlob(pathGlob: string): void {
  if (pathGlob.length > 500 || pathGlob.includes("\0")) throw invalidField("path_glob", "must have 1 to 500 characters, and no NUL.");
  const fault = globFault(pathGlob);
  if (fault !== undefined) throw invalidField("path_glob", `cannot be used: ${fault}.`);
  if (!/^(\/|\*\*)/.test(pathGlob))
    throw invalidField("path_glob", "must begin with / or **: it is compared with the path from the share's root.");
}

function tooMany(shareName: string): DomainError {
  return new DomainError(
    "RESOURCE_EXHAUSTED",
    `The share ${JSON.stringify(shareName)} may have at most ${holdsOfShareAtMost} holds. Replace several by one with a wildcard.`,
    { reason: "TOO_MANY_HOLDS" },
  );
}

/** All of the tenant, or of one share, by share and path. Throws NOT_FOUND (share). */
export async function listHolds(pool: Pool, tenantId: string, shareName: string | undefined): Promise<Hold[]> {
  return readTenant(pool, tenantId, async (client) => {
    const share = shareName === undefined ? undefined : await requireShare(client, tenantId, shareName);
    return loadHolds(client, tenantId, share?.share_id);
  });
}

/** The same within a transaction of the tenant; undefined: of all shares. */
export async function loadHolds(client: ClientBase, tenantId: string, shareId: bigint | undefined): Promise<Hold[]> {
  const { rows } = await client.query<Hold>(
    `SELECT o.hold_id, h.share_name, o.path_glob, o.reason, o.created_by, o.created_utc
     FROM hold o JOIN share h ON h.tenant_id = o.tenant_id AND h.share_id = o.share_id
     WHERE o.tenant_id = $1 AND h.tenant_id = $1 AND ($2::bigint IS NULL OR o.share_id = $2) ORDER BY h.share_name, o.path_glob`,
    [tenantId, shareId ?? null],
  );
  return rows;
}

/** Returns what was removed. Throws NOT_FOUND. */
export async function removeHold(pool: Pool, tenantId: string, holdId: bigint): Promise<Hold> {
  return inTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<Hold>(
      `WITH gone AS (DELETE FROM hold WHERE tenant_id = $1 AND hold_id = $2 RETURNING *)
       SELECT o.hold_id, h.share_name, o.path_glob, o.reason, o.created_by, o.created_utc
       FROM gone o JOIN share h ON h.tenant_id = o.tenant_id AND h.share_id = o.share_id WHERE h.tenant_id = $1`,
      [tenantId, holdId],
    );
    if (rows[0] === undefined)
      throw new DomainError("NOT_FOUND", `There is no hold ${holdId}. ListHolds shows those there are.`, { reason: "HOLD_NOT_FOUND" });
    return rows[0];
  });
}
