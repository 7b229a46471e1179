/** Asks for something to be erased: recorded, and out of reach, in one transaction. */
import type { ClientBase, Pool } from "pg";
import { inTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { lockShare } from "../ingest/locks.js";
import { actorOf } from "../tenancy/actor.js";
import { requireShare } from "../tenancy/shares.js";
import { listTenants } from "../tenancy/tenants.js";
import { invalidField, parseUuid } from "../tenancy/validate.js";

/** The longest name of a user that an audit trail's events are stored with; who came with a token is recorded in fewer. */
const personCharsAtMost = 1000;

/** Who asks. */
export interface Requester {
  tenantId: string;
  /** See Caller. */
  callerId: string;
}

/** Returns the erasure's id. Throws NOT_FOUND, FAILED_PRECONDITION. */
export async function requestShareErasure(
  pool: Pool,
  { tenantId, callerId }: Requester,
  shareName: string,
  abandonTiered: boolean,
): Promise<bigint> {
  return inTenant(pool, tenantId, async (client) => {
    const { share_id: shareId } = await requireShare(client, tenantId, shareName);
    await lockShare(client, shareId, "exclusive");
    if (!abandonTiered) await assertNothingTiered(client, tenantId, shareId, shareName);
    // A name that no share can be given, so that it is found by none and the old one is free.
    await client.query(
      "UPDATE share SET erasing_utc = now(), share_name = 'erased ' || share_id || ' ' || gen_random_uuid() WHERE tenant_id = $1 AND share_id = $2",
      [tenantId, shareId],
    );
    await client.query(
      "UPDATE scan SET status = 'ABANDONED', finished_utc = now() WHERE tenant_id = $1 AND share_id = $2 AND status = 'RUNNING'",
      [tenantId, shareId],
    );
    const { rows } = await client.query<{ erasure_id: bigint }>(
      "INSERT INTO erasure (tenant_id, kind, share_id, requested_by) VALUES ($1, 'SHARE', $2, $3) RETURNING erasure_id",
      [tenantId, shareId, await actorOf(client, tenantId, callerId)],
    );
    return (rows[0] as { erasure_id: bigint }).erasure_id;
  });
}

async function assertNothingTiered(client: ClientBase, tenantId: string, shareId: bigint, shareName: string): Promise<void> {
  const { rowCount } = await client.query("SELECT FROM tier_object WHERE tenant_id = $1 AND share_id = $2 AND state = 'STUBBED' LIMIT 1", [
    tenantId,
    shareId,
  ]);
  if (rowCount === 0) return;
  throw new DomainError(
    "FAILED_PRECONDITION",
    `Share ${JSON.stringify(shareName)} has tiered files: nobody would know where their content is. Bring them back first, or say that they are to be abandoned.`,
    { reason: "SHARE_HAS_TIERED_FILES", metadata: { share_name: shareName } },
  );
}

/** Throws unless a log can have it: whatever a trail calls its users, control characters and all. */
function assertPerson(name: string): void {
  const { length } = [...name];
  if (length === 0) throw invalidField("name", "is empty.");
  if (length > personCharsAtMost) throw invalidField("name", `has ${length} characters; no log has one of more than ${personCharsAtMost}.`);
  if (name.includes("\0")) throw invalidField("name", "has a NUL character, which no log has.");
}

/** Returns the erasure's id. Throws INVALID_ARGUMENT. */
export async function requestPersonErasure(pool: Pool, { tenantId, callerId }: Requester, name: string): Promise<bigint> {
  assertPerson(name);
  return inTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ erasure_id: bigint }>(
      "INSERT INTO erasure (tenant_id, kind, pending_name, requested_by) VALUES ($1, 'PERSON', $2, $3) RETURNING erasure_id",
      [tenantId, name, await actorOf(client, tenantId, callerId)],
    );
    return (rows[0] as { erasure_id: bigint }).erasure_id;
  });
}

/** Of the platform's admins. Returns the erasure's id. Throws INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION. */
export async function requestTenantErasure(pool: Pool, { tenantId, callerId }: Requester, erased: string, code: string): Promise<bigint> {
  const erasedId = parseUuid("tenant_id", erased);
  const tenant = (await listTenants(pool)).find(({ tenant_id }) => tenant_id === erasedId);
  if (tenant === undefined) throw new DomainError("NOT_FOUND", `There is no tenant ${erasedId}.`, { reason: "TENANT_NOT_FOUND" });
  if (tenant.is_platform) {
    throw new DomainError("FAILED_PRECONDITION", "The platform's own tenant is not erased.", { reason: "PLATFORM_TENANT" });
  }
  if (tenant.code !== code) {
    throw new DomainError("FAILED_PRECONDITION", `Tenant ${erasedId} has another code than ${JSON.stringify(code)}. Nothing was done.`, {
      reason: "TENANT_CODE_DIFFERS",
    });
  }
  const id = await inTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ erasure_id: bigint }>(
      "INSERT INTO erasure (tenant_id, kind, erased_tenant_id, requested_by) VALUES ($1, 'TENANT', $2, $3) RETURNING erasure_id",
      [tenantId, erasedId, await actorOf(client, tenantId, callerId)],
    );
    return (rows[0] as { erasure_id: bigint }).erasure_id;
  });
  await inTenant(pool, erasedId, (client) =>
    client.query("UPDATE api_key SET revoked_utc = coalesce(revoked_utc, now()) WHERE tenant_id = $1", [erasedId]),
  );
  return id;
}
