/** What file_current knows of the paths that audit events name. */
import type { ClientBase } from "pg";
import { bigintArray, booleanArray, integerArray, textArray } from "../../db/binary-arrays.js";
import { asLists, listed, numberOf } from "../../db/result-lists.js";
import type { ShareRef } from "../directories.js";
import { clockMarginMicros } from "./listed.js";

export interface Key {
  path: string;
  dirId: bigint;
  name: string;
}

/** What is known of a key. */
export interface Found {
  key: Key;
  /** Of the live file; undefined without one. */
  fileCurrentId: bigint | undefined;
  atimeUnix: bigint | undefined;
  structuralMicros: bigint | undefined;
  /** Whether there are missing files of the name, and when the last of them was deleted; false of a live file whose path no event changes. */
  wasThere: boolean;
  deletedMicros: bigint | undefined;
  /** When the directory was listed; only of paths that an event may change. */
  listedMicros: bigint | undefined;
  /** Where the live file's row was seen; undefined where that was not asked. */
  tid: string | undefined;
}

/** Files that were seen before the share was held. */
export interface Sighting {
  found: Found[];
  /** Keys without a live file. */
  absent: Key[];
  /** Which version of its row each of `found` is: arrays as PostgreSQL wrote them, for it to read again. */
  versions: { tids: string; xmins: string; ids: string };
}

type Lists<Name extends string> = Record<Name, string | null>;

/** Of keys that no event changes: their live files. Nothing keeps them as they are; see changedSince. */
export async function seeFiles(client: ClientBase, { tenantId }: ShareRef, keys: Key[]): Promise<Sighting> {
  if (keys.length === 0) return { found: [], absent: [], versions: { tids: "{}", xmins: "{}", ids: "{}" } };
  const { rows } = await client.query<Lists<"ordinal" | "id" | "atime" | "structural" | "tids" | "xmins" | "ids">>(
    `SELECT ${asLists(["ordinal", "id", "atime", "structural"])}, array_agg(tid)::text AS tids, array_agg(xmin)::text AS xmins, array_agg(id)::text AS ids
     FROM (
       SELECT k.ordinal, f.id, f.atime, f.structural, f.tid, f.xmin
       FROM (${inOrderOfIndex("unnest($2::integer[], $3::bigint[], $4::text[]) AS k (ordinal, dir_id, name)")}) k
       CROSS JOIN LATERAL (
         SELECT file_current_id AS id, atime_unix AS atime, ${microsOf("last_structural_event_utc")} AS structural, ctid AS tid, xmin FROM file_current
         WHERE tenant_id = $1 AND dir_id = k.dir_id AND name = k.name AND missing_since_scan_id IS NULL LIMIT 1
       ) f
     ) seen`,
    [tenantId, integerArray(keys.map((_, at) => at)), bigintArray(keys.map(({ dirId }) => dirId)), textArray(keys.map(({ name }) => name))],
  );
  const { ordinal, id, atime, structural, tids, xmins, ids } = rows[0] as (typeof rows)[number];
  const absent = new Set(keys);
  const atimes = listed(atime);
  const structurals = listed(structural);
  const idList = listed(id);
  const tidList = tidsOf(tids);
  const found = listed(ordinal).map((place, at): Found => {
    const key = keys[Number(place)] as Key;
    absent.delete(key);
    return {
      key,
      fileCurrentId: numberOf(idList[at]),
      atimeUnix: numberOf(atimes[at]),
      structuralMicros: numberOf(structurals[at]),
      wasThere: false,
      deletedMicros: undefined,
      listedMicros: undefined,
      tid: tidList[at],
    };
  });
  return { found, absent: [...absent], versions: { tids: tids ?? "{}", xmins: xmins ?? "{}", ids: ids ?? "{}" } };
}

/** `{"(1,2)","(1,3)"}` as (1,2) and (1,3). */
function tidsOf(array: string | null): string[] {
  return array === null ? [] : array.slice(2, -2).split('","');
}

/**
 * Places in `found` of what is no longer as it was seen. The share's exclusive lock is held by the time that the database comes to it. A row's place
 * may be taken by a later version of it, once vacuum has been there; who wrote it tells them apart.
 */
export async function changedSince(client: ClientBase, { tenantId }: ShareRef, { found, versions }: Sighting): Promise<number[]> {
  if (found.length === 0) return [];
  const { rows } = await client.query<Lists<"place">>(
    `SELECT ${asLists(["place"])} FROM (
       SELECT k.place FROM unnest($2::tid[], $3::xid[], $4::bigint[]) WITH ORDINALITY AS k (tid, xmin, id, place)
       LEFT JOIN LATERAL (
         SELECT true AS same FROM file_current f
         WHERE f.tenant_id = $1 AND f.ctid = k.tid AND f.xmin = k.xmin AND f.file_current_id = k.id AND f.missing_since_scan_id IS NULL OFFSET 0
       ) f ON true
       WHERE f.same IS NULL
     ) changed`,
    [tenantId, versions.tids, versions.xmins, versions.ids],
  );
  return listed(rows[0]?.place).map((place) => Number(place) - 1);
}

/**
 * Of each key what is known of it, in no order; `changing`: paths that an event may change. The share's exclusive lock is held by the time that the
 * database comes to it.
 */
export async function askFiles(client: ClientBase, { tenantId }: ShareRef, keys: Key[], changing: ReadonlySet<string>): Promise<Found[]> {
  if (keys.length === 0) return [];
  const { rows } = await client.query<Lists<"ordinal" | "id" | "atime" | "structural" | "was_there" | "deleted" | "listed">>(
    `SELECT ${asLists(["ordinal", "id", "atime", "structural", "was_there", "deleted", "listed"])} FROM (
       SELECT k.ordinal, c.id, c.atime, c.structural, m.names > 0 AS was_there, m.deleted, d.listed
       FROM (${inOrderOfIndex("unnest($2::integer[], $3::bigint[], $4::text[], $5::boolean[]) AS k (ordinal, dir_id, name, changing)")}) k
       LEFT JOIN LATERAL (
         SELECT file_current_id AS id, atime_unix AS atime, ${microsOf("last_structural_event_utc")} AS structural FROM file_current
         WHERE tenant_id = $1 AND dir_id = k.dir_id AND name = k.name AND missing_since_scan_id IS NULL LIMIT 1
       ) c ON true
       CROSS JOIN LATERAL (
         SELECT count(*) AS names, ${microsOf("max(f.last_structural_event_utc)")} AS deleted FROM file_current f
         WHERE (k.changing OR c.id IS NULL)
           AND f.tenant_id = $1 AND f.dir_id = k.dir_id AND f.name = k.name AND f.missing_since_scan_id IS NOT NULL
       ) m
       LEFT JOIN LATERAL (
         SELECT ${microsOf("listed_utc")} - $6::bigint AS listed FROM dir
         WHERE k.changing AND tenant_id = $1 AND dir_id = k.dir_id AND missing_since_scan_id IS NULL OFFSET 0
       ) d ON true
     ) found`,
    [
      tenantId,
      integerArray(keys.map((_, at) => at)),
      bigintArray(keys.map(({ dirId }) => dirId)),
      textArray(keys.map(({ name }) => name)),
      booleanArray(keys.map(({ path }) => changing.has(path))),
      clockMarginMicros,
    ],
  );
  const row = rows[0] as (typeof rows)[number];
  const [ids, atimes, structurals] = [listed(row.id), listed(row.atime), listed(row.structural)];
  const [wasThere, deleted, listedMicros] = [listed(row.was_there), listed(row.deleted), listed(row.listed)];
  return listed(row.ordinal).map((ordinal, at) => ({
    key: keys[Number(ordinal)] as Key,
    fileCurrentId: numberOf(ids[at]),
    atimeUnix: numberOf(atimes[at]),
    structuralMicros: numberOf(structurals[at]),
    wasThere: wasThere[at] === "t",
    deletedMicros: numberOf(deleted[at]),
    listedMicros: numberOf(listedMicros[at]),
    tid: undefined,
  }));
}

/** Files of one directory lie side by side in it. */
function inOrderOfIndex(keys: string): string {
  return `SELECT * FROM ${keys} ORDER BY dir_id`;
}

/** Of a timestamptz: microseconds since 1970-01-01 UTC. */
function microsOf(expression: string): string {
  return `(extract(epoch FROM ${expression}) * 1000000)::bigint`;
}
