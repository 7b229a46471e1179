/** Warming events as readers see them. */
import type { ClientBase } from "pg";
import type { SourceType } from "../paths.js";

export interface WarmingEvent {
  position: bigint;
  tier_id: bigint;
  file_current_id: bigint;
  share_name: string;
  src_type: SourceType;
  /** Where the file is now; the last place known when it is missing. */
  dir_path: string;
  name: string;
  event_utc: Date;
  recorded_utc: Date;
  actor: string | null;
  host: string | null;
  in_storm: boolean;
  size_bytes: bigint | null;
  rule_name: string | null;
}

/** Every condition that is set must hold. */
export interface EventConditions {
  shareId?: bigint | undefined;
  sinceUtc?: Date | undefined;
  actor?: string | undefined;
  fileCurrentId?: bigint | undefined;
  /** Of `shareId`: this directory and all below it. */
  dirId?: bigint | undefined;
  /** Of a storm or not. */
  inStorm?: boolean | undefined;
}

/** Up to `limit` events behind `after` and up to `upTo`, in the order of their positions. Within a transaction of the tenant. */
export async function readEvents(
  client: ClientBase,
  tenantId: string,
  conditions: EventConditions,
  { after, upTo, limit }: { after: bigint; upTo: bigint; limit: number },
): Promise<WarmingEvent[]> {
  const { rows } = await client.query<WarmingEvent>(
    // A page is looked up row by row, whatever the statistics say.
    `SELECT e.position, e.tier_id, t.file_current_id, h.share_name, h.src_type, d.dir_path, c.name, e.event_utc, e.recorded_utc, e.actor, e.host, e.in_storm,
       c.size_bytes, r.rule_name
     FROM (
       SELECT * FROM warming_event
       WHERE tenant_id = $1 AND position > $2 AND position <= $3 AND ($5::bigint IS NULL OR share_id = $5) AND ($6::timestamptz IS NULL OR event_utc >= $6)
         AND ($7::text IS NULL OR actor = $7) AND ($10::boolean IS NULL OR in_storm = $10)
         AND ($8::bigint IS NULL OR tier_id IN (SELECT tier_id FROM tier_object WHERE tenant_id = $1 AND file_current_id = $8))
         AND ($9::bigint IS NULL OR tier_id IN (
           WITH RECURSIVE below AS (
             SELECT tenant_id, dir_id FROM dir WHERE tenant_id = $1 AND dir_id = $9
             UNION ALL
             SELECT n.tenant_id, n.dir_id FROM below b JOIN dir n ON n.tenant_id = b.tenant_id AND n.parent_dir_id = b.dir_id WHERE n.tenant_id = $1
           )
           SELECT o.tier_id FROM tier_object o JOIN file_current f ON f.tenant_id = $1 AND f.tenant_id = o.tenant_id AND f.file_current_id = o.file_current_id
           JOIN below b ON b.tenant_id = f.tenant_id AND b.dir_id = f.dir_id WHERE o.tenant_id = $1 AND o.share_id = $5))
       ORDER BY position LIMIT $4
     ) e
     JOIN share h ON h.tenant_id = $1 AND h.tenant_id = e.tenant_id AND h.share_id = e.share_id
     CROSS JOIN LATERAL (SELECT * FROM tier_object WHERE tenant_id = $1 AND tier_id = e.tier_id OFFSET 0) t
     CROSS JOIN LATERAL (SELECT * FROM file_current WHERE tenant_id = $1 AND file_current_id = t.file_current_id OFFSET 0) c
     CROSS JOIN LATERAL (SELECT * FROM dir WHERE tenant_id = $1 AND dir_id = c.dir_id OFFSET 0) d
     LEFT JOIN tier_rule r ON r.tenant_id = $1 AND r.tenant_id = t.tenant_id AND r.rule_id = t.rule_id
     ORDER BY e.position`,
    [
      tenantId,
      after,
      upTo,
      limit,
      conditions.shareId ?? null,
      conditions.sinceUtc ?? null,
      conditions.actor ?? null,
      conditions.fileCurrentId ?? null,
      conditions.dirId ?? null,
      conditions.inStorm ?? null,
    ],
  );
  return rows;
}
