/** Warming events and storms, page by page. */
import type { ClientBase, Pool } from "pg";
import { readTenant } from "../db/tenant.js";
import { findDirectory } from "../inventory/directories.js";
import { requireFile } from "../inventory/get-file.js";
import { parseSharePath } from "../paths.js";
import { requireShare, type Share } from "../tenancy/shares.js";
import { invalidField } from "../tenancy/validate.js";
import { type EventConditions, readEvents, type WarmingEvent } from "./warming-event.js";
import { readStorms, type WarmingStorm } from "./warming-storm.js";

const lastPosition = 2n ** 63n - 1n;

/** Every condition that is set must hold. */
export interface EventFilter {
  shareName?: string | undefined;
  sinceUtc?: Date | undefined;
  /** A directory, or a file, in the share's own style. */
  path?: string | undefined;
  user?: string | undefined;
}

/** Up to `limit` events behind the position `after`. Throws NOT_FOUND (share, path), INVALID_ARGUMENT (path). */
export async function listEvents(pool: Pool, tenantId: string, filter: EventFilter, after: bigint, limit: number): Promise<WarmingEvent[]> {
  return readTenant(pool, tenantId, async (client) => {
    const share = filter.shareName === undefined ? undefined : await requireShare(client, tenantId, filter.shareName);
    const conditions: EventConditions = { shareId: share?.share_id, sinceUtc: filter.sinceUtc, actor: filter.user };
    if (filter.path !== undefined) Object.assign(conditions, await placeOf(client, tenantId, share, filter.path));
    return readEvents(client, tenantId, conditions, { after, upTo: lastPosition, limit });
  });
}

/** Up to `limit` storms behind the position `after`. Throws NOT_FOUND (share). */
export async function listStorms(
  pool: Pool,
  tenantId: string,
  shareName: string | undefined,
  after: bigint,
  limit: number,
): Promise<WarmingStorm[]> {
  return readTenant(pool, tenantId, async (client) => {
    const share = shareName === undefined ? undefined : await requireShare(client, tenantId, shareName);
    return readStorms(client, tenantId, share?.share_id, { after, upTo: lastPosition, limit });
  });
}

/** A directory if there is one of that name, else a file. */
async function placeOf(client: ClientBase, tenantId: string, share: Share | undefined, path: string): Promise<EventConditions> {
  if (share === undefined) throw invalidField("path", "needs share_name: paths begin at a share's root.");
  const directory = await findDirectory(client, tenantId, share, parseSharePath(share.src_type, path));
  if (directory) return { dirId: directory.dir_id };
  return { fileCurrentId: (await requireFile(client, tenantId, share, path)).file_current_id };
}
