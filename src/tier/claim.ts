/** Movers get work: objects of which something is wanted, each under a lease. */
import { randomUUID } from "node:crypto";
import type { ClientBase, Pool } from "pg";
import { plainArray } from "../db/array-literals.js";
import { inTenant } from "../db/tenant.js";
import type { SourceType } from "../paths.js";
import { requireShare } from "../tenancy/shares.js";
import { changeStates } from "./change-state.js";
import { planByIds } from "./plan-by-ids.js";
import { asPlanned, type StillMatches } from "./still-matches.js";
import type { WantedAction } from "./transitions.js";

export interface ClaimRequest {
  action: WantedAction;
  limit: number;
  leaseSeconds: number;
  holder: string;
  shareName?: string | undefined;
}

export interface Claim {
  tier_id: bigint;
  lease_token: string;
  lease_until_utc: Date;
  share_name: string;
  src_type: SourceType;
  dir_path: string;
  name: string;
  planned_size_bytes: bigint | null;
  planned_mtime_unix: bigint | null;
  planned_frn: bigint | null;
  target_uri: string;
  object_uri: string | null;
  stub_size_bytes: bigint | null;
  stub_mtime_unix: bigint | null;
  stub_frn: bigint | null;
  attempts: number;
  /** A stub was announced, and the file no longer satisfies its rule: only to be found out about. */
  settle_only: boolean;
}

interface Candidate {
  tier_id: bigint;
  path_bytes: number;
  announced: boolean;
}

/** An answer's paths may take so many bytes: clients take 4 MiB a message, and a path may have 98 KiB. */
const pathBytesAtMost = 2 * 1024 * 1024;
/** Objects whose files no longer match are cancelled on the way; after so many rounds of them the caller has to come again. */
const roundsAtMost = 20;

/**
 * Hands out up to `limit` objects. A transaction each call; whoever else claims meanwhile passes over the rows that it holds.
 * Throws NOT_FOUND for the share.
 */
export async function claimTierObjects(pool: Pool, tenantId: string, request: ClaimRequest, stillMatches: StillMatches): Promise<Claim[]> {
  return inTenant(pool, tenantId, async (client) => {
    const share = request.shareName === undefined ? undefined : await requireShare(client, tenantId, request.shareName);
    await planByIds(client);
    const chosen: { tierId: bigint; settleOnly: boolean }[] = [];
    let pathBytes = 0;
    for (let round = 0; round < roundsAtMost && chosen.length < request.limit; round += 1) {
      const taken = chosen.map(({ tierId }) => tierId);
      const candidates = await lockCandidates(client, tenantId, request, share?.share_id, taken, request.limit - chosen.length);
      const matching = await matchingOf(client, tenantId, request.action, candidates, stillMatches);
      for (const { tier_id: tierId, path_bytes, announced } of candidates) {
        if (!matching.has(tierId) && !announced) continue;
        pathBytes += path_bytes;
        if (chosen.length > 0 && pathBytes > pathBytesAtMost) return lease(client, tenantId, request, chosen);
        chosen.push({ tierId, settleOnly: !matching.has(tierId) });
      }
      if (candidates.length < request.limit - taken.length) break;
    }
    return lease(client, tenantId, request, chosen);
  });
}

/** Rows that nobody holds, of files that are there (to delete a copy, the file need not be). */
async function lockCandidates(
  client: ClientBase,
  tenantId: string,
  { action }: ClaimRequest,
  shareId: bigint | undefined,
  taken: bigint[],
  limit: number,
): Promise<Candidate[]> {
  const { rows } = await client.query<Candidate>(
    `SELECT t.tier_id, octet_length(d.dir_path) + octet_length(c.name) AS path_bytes, t.state = 'PLANNED' AND t.stub_size_bytes IS NOT NULL AS announced
     FROM tier_object t
     -- What must hold of the file stands outside: else an index of part of the files looks as good as its key.
     CROSS JOIN LATERAL (SELECT * FROM file_current WHERE tenant_id = $1 AND tenant_id = t.tenant_id AND file_current_id = t.file_current_id OFFSET 0) c
     CROSS JOIN LATERAL (SELECT dir_path FROM dir WHERE tenant_id = $1 AND tenant_id = c.tenant_id AND dir_id = c.dir_id OFFSET 0) d
     WHERE t.tenant_id = $1 AND t.wanted_action = $2 AND t.claimable_utc <= now()
       AND ($3::bigint IS NULL OR t.share_id = $3) AND t.tier_id <> ALL($4::bigint[]) AND ($2 = 'DELETE_TARGET' OR c.missing_since_scan_id IS NULL)
     ORDER BY t.claimable_utc, t.tier_id LIMIT $5
     FOR UPDATE OF t SKIP LOCKED`,
    [tenantId, action, shareId ?? null, plainArray(taken), limit],
  );
  return rows;
}

/** Those that may be handed out. A planned file that may not is cancelled, unless its stub may be in its place already. */
async function matchingOf(
  client: ClientBase,
  tenantId: string,
  action: WantedAction,
  candidates: Candidate[],
  stillMatches: StillMatches,
): Promise<Set<bigint>> {
  const ids = candidates.map(({ tier_id }) => tier_id);
  if (action !== "STUB" || ids.length === 0) return new Set(ids);
  const unchanged = new Set(await asPlanned(client, tenantId, ids));
  const matching = new Set(await stillMatches(client, tenantId, [...unchanged]));
  const cancelled = candidates.flatMap(({ tier_id: tierId, announced }) => {
    if (announced || matching.has(tierId)) return [];
    const reason = unchanged.has(tierId) ? "The file no longer satisfies the rule." : "The file changed after it was planned.";
    return [{ tierId, reason, actor: "" }];
  });
  await changeStates(client, tenantId, { to: "DELETED", cause: "no_longer_matching", leased: false }, cancelled);
  return matching;
}

async function lease(
  client: ClientBase,
  tenantId: string,
  { leaseSeconds, holder }: ClaimRequest,
  chosen: { tierId: bigint; settleOnly: boolean }[],
): Promise<Claim[]> {
  if (chosen.length === 0) return [];
  const { rows } = await client.query<Claim>(
    `WITH leased AS (
       UPDATE tier_object t SET lease_holder = $3, lease_until_utc = now() + make_interval(secs => $4), lease_token = n.token,
         -- A lease that ended without a report was an attempt too.
         attempts = t.attempts + CASE WHEN t.lease_until_utc IS NULL THEN 0 ELSE 1 END, retry_after_utc = NULL
       FROM unnest($2::bigint[], $5::uuid[], $6::boolean[]) AS n (tier_id, token, settle_only)
       WHERE t.tenant_id = $1 AND t.tier_id = ANY($2::bigint[]) AND t.tier_id = n.tier_id
       RETURNING t.*, n.settle_only
     )
     SELECT t.tier_id, t.lease_token, t.lease_until_utc, h.share_name, h.src_type, d.dir_path, c.name, t.planned_size_bytes, t.planned_mtime_unix,
       t.planned_frn, t.target_uri, t.object_uri, t.stub_size_bytes, t.stub_mtime_unix, t.stub_frn, t.attempts, t.settle_only
     FROM leased t
     JOIN share h ON h.tenant_id = t.tenant_id AND h.share_id = t.share_id
     CROSS JOIN LATERAL (SELECT * FROM file_current WHERE tenant_id = $1 AND tenant_id = t.tenant_id AND file_current_id = t.file_current_id OFFSET 0) c
     CROSS JOIN LATERAL (SELECT dir_path FROM dir WHERE tenant_id = $1 AND tenant_id = c.tenant_id AND dir_id = c.dir_id OFFSET 0) d
     WHERE h.tenant_id = $1 ORDER BY t.tier_id`,
    [
      tenantId,
      plainArray(chosen.map(({ tierId }) => tierId)),
      holder,
      leaseSeconds,
      plainArray(chosen.map(() => randomUUID())),
      plainArray(chosen.map(({ settleOnly }) => settleOnly)),
    ],
  );
  return rows;
}
