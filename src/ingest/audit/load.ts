/** What the database knows of the paths that audit events name. */
import type { ClientBase } from "pg";
import { bigintArray } from "../../db/binary-arrays.js";
import { together } from "../../db/together.js";
import { splitPath } from "../../paths.js";
import type { ShareRef } from "../directories.js";
import type { DirectoryCache } from "./directory-cache.js";
import type { AuditFile, KnownPath } from "./folded.js";
import { loadDirectories } from "./load-directories.js";
import { askFiles, type Found, type Key } from "./load-files.js";
import { loadWaiting } from "./waiting.js";

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
  const found = await askFiles(client, context.share, keys.placed, context.changing);
  await addKnown(client, context, facts, { found, unplaced: keys.unplaced }, known);
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

/** Adds to `known` what was found, and what else has to be asked of all paths. */
export async function addKnown(
  client: ClientBase,
  { share, changing, ofDirectories }: LoadContext,
  { rootListedMicros, someWait }: ShareFacts,
  { found, unplaced }: { found: Found[]; unplaced: string[] },
  known: Map<string, KnownPath>,
): Promise<void> {
  const files: AuditFile[] = [];
  for (const of of found) {
    const { path } = of.key;
    const live = of.fileCurrentId === undefined ? undefined : toFile(of, of.fileCurrentId);
    if (live) files.push(live);
    known.set(path, {
      live,
      wasThere: of.wasThere,
      deletedMicros: of.deletedMicros,
      listedMicros: changing.has(path) ? (of.listedMicros ?? rootListedMicros) : undefined,
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
  const paths = [...found.map(({ key }) => key.path), ...unplaced];
  const mayBeDirectories = paths.filter((path) => ofDirectories.has(path));
  const mayWait = someWait ? paths.filter((path) => changing.has(path)) : [];
  const [directories, waiting] = await together([
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

function toFile({ key, atimeUnix, structuralMicros, tid }: Found, fileCurrentId: bigint): AuditFile {
  return {
    fileCurrentId,
    path: key.path,
    loadedPath: key.path,
    atimeUnix,
    structuralMicros,
    stubbedTierId: undefined,
    tid,
    missing: false,
    touched: false,
    stale: false,
    restructured: false,
  };
}
