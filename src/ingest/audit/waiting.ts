/**
 * Accesses of paths where no file is known. An agent may be late: by the time an event arrives, a scan has
 * seen its file under the name that it got since. Such an access waits for the file that a scan finds under
 * the path, or for the event that says where the file went.
 */
import type { ClientBase } from "pg";
import { plainArray, textArray } from "../../db/array-literals.js";
import { together } from "../../db/together.js";
import { pathDigest, splitPath } from "../../paths.js";
import type { ShareRef } from "../directories.js";
import type { AccessEvent } from "./events.js";
import type { Folded } from "./folded.js";

/** Characters of a path that `path_start` has. */
const pathStartCharacters = 400;

/** The column, so that no index is used for it: with few statistics the planner would take the key, and read all that waits in the share for each path. */
export const shareUnindexed = "(share_id + 0)";

export interface WaitingRow {
  path: string;
  event_micros: bigint;
  event_id: string;
  actor: string | null;
  host: string | null;
}

export async function doSomeWait(client: ClientBase, share: ShareRef): Promise<boolean> {
  const { rows } = await client.query<{ some: boolean }>(
    "SELECT EXISTS (SELECT FROM audit_waiting WHERE tenant_id = $1 AND share_id = $2) AS some",
    [share.tenantId, share.shareId],
  );
  return rows[0]?.some === true;
}

/** What waits at `paths`, by path. Rows are reached one by one, by key or place, here as below: without statistics a join may read all of them for each. */
export async function loadWaiting(client: ClientBase, share: ShareRef, paths: string[]): Promise<Map<string, AccessEvent>> {
  if (paths.length === 0) return new Map();
  const { rows } = await client.query<WaitingRow & { ordinal: number }>(
    `SELECT k.ordinal, w.path, w.event_micros, w.event_id, w.actor, w.host
     FROM unnest($3::uuid[], $4::text[]) WITH ORDINALITY AS k (dir_digest, name, ordinal)
     CROSS JOIN LATERAL (
       SELECT path, event_micros, event_id, actor, host FROM audit_waiting
       WHERE tenant_id = $1 AND share_id = $2 AND dir_digest = k.dir_digest AND name = k.name OFFSET 0
     ) w`,
    [share.tenantId, share.shareId, ...keyArrays(share, paths)],
  );
  return new Map(rows.map((row) => [paths[Number(row.ordinal) - 1] as string, toAccess(row)]));
}

export async function storeWaiting(
  client: ClientBase,
  share: ShareRef,
  { settled, waiting }: Pick<Folded, "settled" | "waiting">,
): Promise<void> {
  await together([deleteWaiting(client, share, [...settled]), insertWaiting(client, share, waiting)]);
}

async function deleteWaiting(client: ClientBase, share: ShareRef, paths: string[]): Promise<void> {
  if (paths.length === 0) return;
  await client.query(
    `DELETE FROM audit_waiting WHERE tenant_id = $1 AND ctid = ANY (ARRAY(
       SELECT w.ctid FROM unnest($3::uuid[], $4::text[]) AS k (dir_digest, name)
       CROSS JOIN LATERAL (SELECT ctid FROM audit_waiting WHERE tenant_id = $1 AND share_id = $2 AND dir_digest = k.dir_digest AND name = k.name OFFSET 0) w))`,
    [share.tenantId, share.shareId, ...keyArrays(share, paths)],
  );
}

/** Of each path the newest stays. */
async function insertWaiting(client: ClientBase, share: ShareRef, waiting: ReadonlyMap<string, AccessEvent>): Promise<void> {
  if (waiting.size === 0) return;
  const paths = [...waiting.keys()];
  const events = [...waiting.values()];
  await client.query(
    `INSERT INTO audit_waiting AS w (tenant_id, share_id, dir_digest, name, path, event_micros, event_id, actor, host)
     SELECT DISTINCT ON (n.dir_digest, n.name) $1::uuid, $2::bigint, n.dir_digest, n.name, n.path, n.event_micros, n.event_id, nullif(n.actor, ''), nullif(n.host, '')
     FROM unnest($3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[])
       AS n (dir_digest, name, path, event_micros, event_id, actor, host)
     ORDER BY n.dir_digest, n.name, n.event_micros DESC
     ON CONFLICT (tenant_id, share_id, dir_digest, name) DO UPDATE SET path = excluded.path, event_micros = excluded.event_micros,
       event_id = excluded.event_id, actor = excluded.actor, host = excluded.host, recorded_utc = now()
     WHERE w.event_micros < excluded.event_micros`,
    [
      share.tenantId,
      share.shareId,
      ...keyArrays(share, paths),
      textArray(paths),
      plainArray(events.map(({ timeMicros }) => timeMicros)),
      textArray(events.map(({ eventId }) => eventId)),
      textArray(events.map(({ user }) => user)),
      textArray(events.map(({ host }) => host)),
    ],
  );
}

/** Takes what waits at `path` and below it from up to `untilMicros`; returns it by path. */
export async function takeWaitingBelow(
  client: ClientBase,
  share: ShareRef,
  path: string,
  untilMicros: bigint,
): Promise<Map<string, AccessEvent>> {
  const { first, last } = startsBelow(path);
  const [digests, names] = keyArrays(share, [path]);
  const { rows } = await client.query<WaitingRow>(
    `DELETE FROM audit_waiting WHERE tenant_id = $1 AND ctid = ANY (ARRAY(
       SELECT ctid FROM audit_waiting WHERE tenant_id = $1 AND ${shareUnindexed} = $2 AND path_start BETWEEN $3 AND $4 AND starts_with(path, $5) AND event_micros <= $8
       UNION
       SELECT w.ctid FROM unnest($6::uuid[], $7::text[]) AS k (dir_digest, name)
       CROSS JOIN LATERAL (
         SELECT ctid FROM audit_waiting WHERE tenant_id = $1 AND share_id = $2 AND dir_digest = k.dir_digest AND name = k.name AND event_micros <= $8 OFFSET 0
       ) w))
     RETURNING path, event_micros, event_id, actor, host`,
    [share.tenantId, share.shareId, first, last, `${path}/`, digests, names, untilMicros],
  );
  return new Map(rows.map((row) => [row.path, toAccess(row)]));
}

/** Between which values of `path_start` everything below `path` lies, and with it other things. */
export function startsBelow(path: string): { first: string; last: string } {
  const prefix = Array.from(`${path}/`);
  const first = prefix.slice(0, pathStartCharacters).join("");
  // The character after `/` is `0`.
  return { first, last: prefix.length > pathStartCharacters ? first : `${path}0` };
}

export function toAccess({ event_micros, event_id, actor, host }: WaitingRow): AccessEvent {
  return { timeMicros: event_micros, eventId: event_id, user: actor ?? "", host: host ?? "" };
}

function keyArrays(share: ShareRef, paths: string[]): [string, string] {
  const places = paths.map((path) => splitPath(path) ?? { dirPath: "/", name: "" });
  return [plainArray(places.map(({ dirPath }) => pathDigest(dirPath, share.caseSensitive))), textArray(places.map(({ name }) => name))];
}
