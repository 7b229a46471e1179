/** What the database knows of the paths that audit events name. */
import type { ClientBase } from "pg";
import { bigintArray, booleanArray, integerArray, textArray } from "../../db/binary-arrays.js";
import { splitPath } from "../../paths.js";
import type { ShareRef } from "../directories.js";
import type { DirectoryCache } from "./directory-cache.js";
import type { AuditFile, KnownPath } from "./folded.js";
import { clockMarginMicros } from "./listed.js";
import { loadDirectories } from "./load-directories.js";
import { loadWaiting } from "./waiting.js";

export interface Key {
  path: string;
  dirId: bigint;
  name: string;
}

export interface PathRow {
  ordinal: number;
  file_current_id: bigint | null;
  atime_unix: bigint | null;
  structural_micros: bigint | null;
  was_there: boolean;
  deleted_micros: bigint | null;
  listed_micros: bigint | null;
}

export interface LoadContext {
  share: ShareRef;
  directories: DirectoryCache;
  /** Paths that an event may make, change, move or delete: what was deleted, listed or waits under their names matters too. */
  changing: ReadonlySet<string>;
  /** Paths that may be directories, for all that the events say. */
  ofDirectories: ReadonlySet<string>;
}

/** What is asked once in a transaction. */
export interface ShareFacts {
  /** Of the share's root: see KnownPath.listedMicros. */
  rootListedMicros: bigint | undefined;
  /** Whether accesses of any path wait. */
  someWait: boolean;
}

/** Where paths are to be looked for. */
export interface Keys {
  placed: Key[];
  /** Those whose directory has no row: nothing is known of them. */
  unplaced: string[];
}

/** Adds what is known of `paths` to `known`. The share's exclusive lock is held: nothing of it changes meanwhile. */
export async function loadPaths(
  client: ClientBase,
  context: LoadContext,
  facts: ShareFacts,
  paths: Set<string>,
  known: Map<string, KnownPath>,
): Promise<void> {
  const keys = await findKeys(client, context, paths);
  await addKnown(client, context, facts, keys, await askFiles(client, context, keys.placed), known);
}

/** Directories keep their rows, so this may be asked before the share is held; of what is unplaced then, it has to be asked again. */
export async function findKeys(client: ClientBase, { share, directories }: LoadContext, paths: Iterable<string>): Promise<Keys> {
  const places = Array.from(paths, (path) => ({ path, ...(splitPath(path) ?? { dirPath: "/", name: "" }) }));
  const dirIds = await directories.find(client, share, new Set(places.map(({ dirPath }) => dirPath)));
  const keys: Keys = { placed: [], unplaced: [] };
  for (const { path, dirPath, name } of places) {
    const dirId = dirIds.get(dirPath);
    if (dirId === undefined) keys.unplaced.push(path);
    else keys.placed.push({ path, dirId, name });
  }
  return keys;
}

/** The rows of files, in no order. The share's exclusive lock is held by the time that the database comes to it. */
export async function askFiles(client: ClientBase, { share, changing }: LoadContext, keys: Key[]): Promise<PathRow[]> {
  if (keys.length === 0) return [];
  const { rows } = await client.query<PathRow>(
    `SELECT k.ordinal, c.file_current_id, c.atime_unix, (extract(epoch FROM c.last_structural_event_utc) * 1000000)::bigint AS structural_micros,
       m.names > 0 AS was_there, m.deleted_micros, d.listed_micros
     FROM (
       -- In the order of the index: files of one directory lie side by side.
       SELECT * FROM unnest($2::integer[], $3::bigint[], $4::text[], $5::boolean[]) AS k (ordinal, dir_id, name, changing) ORDER BY dir_id
     ) k
     LEFT JOIN LATERAL (
       SELECT f.file_current_id, f.atime_unix, f.last_structural_event_utc FROM file_current f
       WHERE f.tenant_id = $1 AND f.dir_id = k.dir_id AND f.name = k.name AND f.missing_since_scan_id IS NULL LIMIT 1
     ) c ON true
     CROSS JOIN LATERAL (
       SELECT count(*) AS names, (extract(epoch FROM max(f.last_structural_event_utc)) * 1000000)::bigint AS deleted_micros FROM file_current f
       WHERE (k.changing OR c.file_current_id IS NULL)
         AND f.tenant_id = $1 AND f.dir_id = k.dir_id AND f.name = k.name AND f.missing_since_scan_id IS NOT NULL
     ) m
     LEFT JOIN LATERAL (
       SELECT (extract(epoch FROM listed_utc) * 1000000)::bigint - $6::bigint AS listed_micros FROM dir
       WHERE k.changing AND tenant_id = $1 AND dir_id = k.dir_id AND missing_since_scan_id IS NULL OFFSET 0
     ) d ON true`,
    [
      share.tenantId,
      integerArray(keys.map((_, at) => at)),
      bigintArray(keys.map(({ dirId }) => dirId)),
      textArray(keys.map(({ name }) => name)),
      booleanArray(keys.map(({ path }) => changing.has(path))),
      clockMarginMicros,
    ],
  );
  return rows;
}

/** Adds to `known` what `rows` say of `placed`, and what else has to be asked of all keys. */
export async function addKnown(
  client: ClientBase,
  { share, changing, ofDirectories }: LoadContext,
  { rootListedMicros, someWait }: ShareFacts,
  { placed, unplaced }: Keys,
  rows: PathRow[],
  known: Map<string, KnownPath>,
): Promise<void> {
  const files: AuditFile[] = [];
  for (const row of rows) {
    const { path } = placed[row.ordinal] as Key;
    const live = row.file_current_id === null ? undefined : toFile(path, row.file_current_id, row);
    if (live) files.push(live);
    known.set(path, {
      live,
      wasThere: row.was_there,
      deletedMicros: row.deleted_micros ?? undefined,
      listedMicros: changing.has(path) ? (row.listed_micros ?? rootListedMicros) : undefined,
      waiting: undefined,
      directory: undefined,
    });
  }
  for (const path of unplaced)
    known.set(path, {
      live: undefined,
      wasThere: false,
      deletedMicros: undefined,
      listedMicros: rootListedMicros,
      waiting: undefined,
      directory: undefined,
    });
  const paths = [...placed.map(({ path }) => path), ...unplaced];
  const mayBeDirectories = paths.filter((path) => ofDirectories.has(path));
  const mayWait = someWait ? paths.filter((path) => changing.has(path)) : [];
  const [directories, waiting] = await Promise.all([
    loadDirectories(client, { share, someWait }, mayBeDirectories),
    loadWaiting(client, share, mayWait),
    loadStubbed(client, share, files),
  ]);
  for (const [path, directory] of directories) (known.get(path) as KnownPath).directory = directory;
  for (const [path, access] of waiting) (known.get(path) as KnownPath).waiting = access;
}

/** A statement of its own: while few files are tiered, the planner would read all of them again for each path. */
async function loadStubbed(client: ClientBase, share: ShareRef, files: AuditFile[]): Promise<void> {
  if (files.length === 0) return;
  const byId = new Map(files.map((file) => [file.fileCurrentId, file]));
  const { rows } = await client.query<{ tier_id: bigint; file_current_id: bigint }>(
    "SELECT tier_id, file_current_id FROM tier_object WHERE tenant_id = $1 AND file_current_id = ANY($2::bigint[]) AND state = 'STUBBED'",
    [share.tenantId, bigintArray([...byId.keys()])],
  );
  for (const row of rows) {
    const file = byId.get(row.file_current_id);
    if (file) file.stubbedTierId = row.tier_id;
  }
}

function toFile(path: string, fileCurrentId: bigint, row: PathRow): AuditFile {
  return {
    fileCurrentId,
    path,
    loadedPath: path,
    atimeUnix: row.atime_unix ?? undefined,
    structuralMicros: row.structural_micros ?? undefined,
    stubbedTierId: undefined,
    missing: false,
    touched: false,
    stale: false,
    restructured: false,
  };
}
