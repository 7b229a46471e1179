/** What the database knows of a share's storms, and how busy its minutes were. */
import type { ClientBase } from "pg";
import { plainArray } from "../db/array-literals.js";
import type { ShareKey } from "./share-key.js";
import { addBusyMinutes, type BusyMinute, minutesToCount, type Storm } from "./storm.js";
import type { Touch } from "./touch.js";

export interface Storms {
  /** Those that were known, as far as `touches` reach into their time, longer where it was; and new ones. */
  storms: Storm[];
  filesPerMinuteLimit: bigint;
}

/** Storms with the accesses that are about to be recorded. The share's exclusive lock is held: nobody else finds one meanwhile. */
export async function findStorms(client: ClientBase, share: ShareKey, touches: readonly Touch[]): Promise<Storms> {
  const { storms, filesPerMinuteLimit } = await loadStorms(client, share, touches);
  const minutes = minutesToCount(storms, touches);
  const busy = minutes.length === 0 ? [] : await busyMinutes(client, share, minutes, touches, filesPerMinuteLimit);
  return { storms: addBusyMinutes(storms, busy), filesPerMinuteLimit };
}

interface StormRow {
  files_limit: bigint;
  position: bigint | null;
  began_micros: bigint;
  over_until_micros: bigint;
  until_micros: bigint;
  files: bigint;
  accesses: bigint;
}

async function loadStorms(client: ClientBase, share: ShareKey, touches: readonly Touch[]): Promise<Storms> {
  const { rows } = await client.query<StormRow>(
    `SELECT h.storm_files_per_minute::bigint AS files_limit, s.position, (extract(epoch FROM s.began_utc) * 1000000)::bigint AS began_micros,
       (extract(epoch FROM s.over_until_utc) * 1000000)::bigint AS over_until_micros, (extract(epoch FROM s.until_utc) * 1000000)::bigint AS until_micros,
       s.files, s.accesses
     FROM share h
     LEFT JOIN warming_storm s ON s.tenant_id = $1 AND s.tenant_id = h.tenant_id AND s.share_id = h.share_id
       AND s.until_utc > to_timestamp($3::bigint / 1000000.0) AND s.began_utc <= to_timestamp($4::bigint / 1000000.0)
     WHERE h.tenant_id = $1 AND h.share_id = $2 ORDER BY s.began_utc, s.position`,
    [share.tenantId, share.shareId, ...ends(touches)],
  );
  const storms = rows.flatMap((row): Storm[] => (row.position === null ? [] : [toStorm(row, row.position)]));
  return { storms, filesPerMinuteLimit: (rows[0] as StormRow).files_limit };
}

function toStorm(row: StormRow, position: bigint): Storm {
  const { began_micros, over_until_micros, until_micros, files, accesses } = row;
  return { position, beganMicros: began_micros, overUntilMicros: over_until_micros, untilMicros: until_micros, files, accesses };
}

/** Of `minutes` those over the limit, in order: by what was recorded before, and by `touches`. */
async function busyMinutes(
  client: ClientBase,
  share: ShareKey,
  minutes: bigint[],
  touches: readonly Touch[],
  limit: bigint,
): Promise<BusyMinute[]> {
  const { rows } = await client.query<{ begins_micros: bigint; files: bigint }>(
    `WITH minute AS (
       SELECT m AS begins_micros, to_timestamp(m / 1000000.0) AS begins_utc FROM unnest($3::bigint[]) AS m
     ), seen AS (
       SELECT m.begins_micros, e.tier_id FROM minute m
       CROSS JOIN LATERAL (
         SELECT tier_id FROM warming_event
         WHERE tenant_id = $1 AND share_id = $2 AND event_utc >= m.begins_utc AND event_utc < m.begins_utc + interval '1 minute' OFFSET 0
       ) e
       UNION
       SELECT m.begins_micros, n.tier_id FROM unnest($4::bigint[], $5::bigint[]) AS n (tier_id, micros)
       JOIN minute m ON m.begins_micros = n.micros - ((n.micros % 60000000) + 60000000) % 60000000
     )
     SELECT begins_micros, count(*) AS files FROM seen GROUP BY begins_micros HAVING count(*) > $6 ORDER BY begins_micros`,
    [
      share.tenantId,
      share.shareId,
      plainArray(minutes),
      plainArray(touches.map(({ tierId }) => tierId)),
      plainArray(touches.map(({ timeMicros }) => timeMicros)),
      limit,
    ],
  );
  return rows.map(({ begins_micros, files }) => ({ beginsMicros: begins_micros, files }));
}

function ends(touches: readonly Touch[]): [bigint, bigint] {
  let [first, last] = [touches[0]?.timeMicros ?? 0n, touches[0]?.timeMicros ?? 0n];
  for (const { timeMicros } of touches) {
    if (timeMicros < first) first = timeMicros;
    if (timeMicros > last) last = timeMicros;
  }
  return [first, last];
}
