/** Whose events never count: backup, virus scanners, the agent itself. Kept in the database and read in each transaction. */
import type { ClientBase, Pool } from "pg";
import { inTenant, readTenant } from "../../db/tenant.js";
import { DomainError } from "../../errors.js";
import { requireShare } from "../../tenancy/shares.js";
import type { ShareRef } from "../directories.js";

export const exclusionKinds = ["user", "host", "node", "action"] as const;
export type ExclusionKind = (typeof exclusionKinds)[number];
export type Exclusions = Record<ExclusionKind, Set<string>>;

export interface Exclusion {
  /** Undefined: all shares of the tenant. */
  shareName: string | undefined;
  kind: ExclusionKind;
  value: string;
}

/** Those of the tenant and of the share. */
export async function loadExclusions(client: ClientBase, share: ShareRef): Promise<Exclusions> {
  const { rows } = await client.query<{ kind: ExclusionKind; value: string }>(
    "SELECT kind, value FROM audit_exclusion WHERE tenant_id = $1 AND (share_id IS NULL OR share_id = $2)",
    [share.tenantId, share.shareId],
  );
  const exclusions: Exclusions = { user: new Set(), host: new Set(), node: new Set(), action: new Set() };
  for (const { kind, value } of rows) exclusions[kind].add(value);
  return exclusions;
}

export function isExcluded(event: { user: string; host: string; node: string; actionName: string }, exclusions: Exclusions): boolean {
  return (
    exclusions.user.has(event.user) ||
    exclusions.host.has(event.host) ||
    exclusions.node.has(event.node) ||
    exclusions.action.has(event.actionName)
  );
}

export async function listExclusions(pool: Pool, tenantId: string): Promise<Exclusion[]> {
  return readTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ share_name: string | null; kind: ExclusionKind; value: string }>(
      `SELECT h.share_name, e.kind, e.value FROM audit_exclusion e LEFT JOIN share h ON h.tenant_id = e.tenant_id AND h.share_id = e.share_id
       WHERE e.tenant_id = $1 ORDER BY h.share_name NULLS FIRST, e.kind, e.value`,
      [tenantId],
    );
    return rows.map(({ share_name, kind, value }) => ({ shareName: share_name ?? undefined, kind, value }));
  });
}

/** Safe to repeat. Throws NOT_FOUND for the share. */
export async function addExclusion(pool: Pool, tenantId: string, exclusion: Exclusion): Promise<void> {
  await inTenant(pool, tenantId, async (client) => {
    await client.query("INSERT INTO audit_exclusion (tenant_id, share_id, kind, value) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", [
      tenantId,
      await shareIdOf(client, tenantId, exclusion),
      exclusion.kind,
      exclusion.value,
    ]);
  });
}

/** Throws NOT_FOUND when there is none such. */
export async function removeExclusion(pool: Pool, tenantId: string, exclusion: Exclusion): Promise<void> {
  await inTenant(pool, tenantId, async (client) => {
    const { rowCount } = await client.query(
      "DELETE FROM audit_exclusion WHERE tenant_id = $1 AND share_id IS NOT DISTINCT FROM $2 AND kind = $3 AND value = $4",
      [tenantId, await shareIdOf(client, tenantId, exclusion), exclusion.kind, exclusion.value],
    );
    if (rowCount === 0) {
      throw new DomainError("NOT_FOUND", `No ${exclusion.kind} ${JSON.stringify(exclusion.value)} is excluded there.`, {
        reason: "EXCLUSION_NOT_FOUND",
      });
    }
  });
}

async function shareIdOf(client: ClientBase, tenantId: string, { shareName }: Exclusion): Promise<bigint | null> {
  return shareName === undefined ? null : (await requireShare(client, tenantId, shareName)).share_id;
}
