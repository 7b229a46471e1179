/** Storms and events get their positions, and watchers are told. The last thing a transaction does before its commit. */
import type { ClientBase } from "pg";
import { plainArray, textArray } from "../db/array-literals.js";
import type { Storms } from "./find-storms.js";
import type { ShareKey } from "./share-key.js";
import { type Storm, stormAt } from "./storm.js";
import type { Touch } from "./touch.js";

/** LISTENed to by each server; the payload is the tenant's id. */
export const warmingChannel = "frostline_warming";

/** Storms that were known already and have gone on. Before `publish`: it takes no position. */
export async function storeGrown(client: ClientBase, tenantId: string, storms: readonly Storm[]): Promise<void> {
  const known = storms.filter(({ position }) => position !== undefined);
  if (known.length === 0) return;
  await client.query(
    `UPDATE warming_storm s SET over_until_utc = to_timestamp(n.over_until / 1000000.0), until_utc = to_timestamp(n.until / 1000000.0), accesses = n.accesses
     FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS n (position, over_until, until, accesses)
     WHERE s.tenant_id = $1 AND s.position = n.position`,
    [
      tenantId,
      plainArray(known.map(({ position }) => position)),
      plainArray(known.map(({ overUntilMicros }) => overUntilMicros)),
      plainArray(known.map(({ untilMicros }) => untilMicros)),
      plainArray(known.map(({ accesses }) => accesses)),
    ],
  );
}

/**
 * Positions are out of a row that is locked until the commit, so they become visible in their order: whoever has read up
 * to one has missed none before it. Everyone of the tenant who has accesses to tell waits here meanwhile.
 */
export async function publish(
  client: ClientBase,
  share: ShareKey,
  touches: readonly Touch[],
  { storms, filesPerMinuteLimit }: Storms,
): Promise<void> {
  const fresh = storms.filter(({ position }) => position === undefined);
  await client.query(
    `WITH taken AS (
       INSERT INTO warming_position AS p (tenant_id, last_position) VALUES ($1, $3::bigint + $4::bigint)
       ON CONFLICT (tenant_id) DO UPDATE SET last_position = p.last_position + excluded.last_position
       RETURNING last_position - $3::bigint - $4::bigint AS before
     ), storm AS (
       INSERT INTO warming_storm (tenant_id, position, share_id, began_utc, over_until_utc, until_utc, files, files_per_minute_limit, accesses, recorded_utc)
       SELECT $1, t.before + s.ordinal, $2, to_timestamp(s.began / 1000000.0), to_timestamp(s.over_until / 1000000.0), to_timestamp(s.until / 1000000.0),
         s.files, $5, s.accesses, clock_timestamp()
       FROM taken t, unnest($6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[]) WITH ORDINALITY
         AS s (began, over_until, until, files, accesses, ordinal)
     ), event AS (
       INSERT INTO warming_event (tenant_id, position, tier_id, share_id, event_utc, actor, host, event_id, in_storm, recorded_utc)
       SELECT $1, t.before + $3::bigint + e.ordinal, e.tier_id, $2, to_timestamp(e.micros / 1000000.0), nullif(e.actor, ''), nullif(e.host, ''),
         e.event_id, e.in_storm, clock_timestamp()
       FROM taken t, unnest($11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::text[], $16::boolean[]) WITH ORDINALITY
         AS e (tier_id, micros, actor, host, event_id, in_storm, ordinal)
     )
     SELECT pg_notify($17, $1::uuid::text) FROM taken`,
    [
      share.tenantId,
      share.shareId,
      fresh.length,
      touches.length,
      filesPerMinuteLimit,
      ...stormColumns(fresh),
      ...touchColumns(touches, storms),
      warmingChannel,
    ],
  );
}

function stormColumns(storms: readonly Storm[]): string[] {
  return [
    plainArray(storms.map(({ beganMicros }) => beganMicros)),
    plainArray(storms.map(({ overUntilMicros }) => overUntilMicros)),
    plainArray(storms.map(({ untilMicros }) => untilMicros)),
    plainArray(storms.map(({ files }) => files)),
    plainArray(storms.map(({ accesses }) => accesses)),
  ];
}

function touchColumns(touches: readonly Touch[], storms: readonly Storm[]): string[] {
  return [
    plainArray(touches.map(({ tierId }) => tierId)),
    plainArray(touches.map(({ timeMicros }) => timeMicros)),
    textArray(touches.map(({ user }) => user)),
    textArray(touches.map(({ host }) => host)),
    textArray(touches.map(({ eventId }) => eventId)),
    plainArray(touches.map(({ timeMicros }) => stormAt(storms, timeMicros) !== undefined)),
  ];
}
