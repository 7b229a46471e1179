/** Ids of directories by path: a directory's row keeps its path for ever, so that what was once found need not be asked for again. */
import type { ClientBase } from "pg";
import { plainArray } from "../../db/array-literals.js";
import { pathDigest } from "../../paths.js";
import type { ShareRef } from "../directories.js";
import { RecentIds } from "./recent-ids.js";

/** Half of what is remembered: some 130 bytes each, with paths of 40 characters. */
const pathsAtMost = 250_000;

export class DirectoryCache {
  readonly #recent = new RecentIds(pathsAtMost);

  /** Ids of those of `paths` that have a row. */
  async find(client: ClientBase, share: ShareRef, paths: Set<string>): Promise<ReadonlyMap<string, bigint>> {
    const known = this.#recent.of(share.shareId);
    const byDigest = new Map<string, string[]>();
    for (const path of paths) {
      if (this.#recent.has(known, share.shareId, path)) continue;
      const digest = pathDigest(path, share.caseSensitive);
      byDigest.set(digest, [...(byDigest.get(digest) ?? []), path]);
    }
    if (byDigest.size === 0) return known;
    const { rows } = await client.query<{ dir_id: bigint; path_digest: string }>(
      "SELECT dir_id, path_digest FROM dir WHERE tenant_id = $1 AND share_id = $2 AND path_digest = ANY($3::uuid[])",
      [share.tenantId, share.shareId, plainArray([...byDigest.keys()])],
    );
    for (const { dir_id, path_digest } of rows) for (const path of byDigest.get(path_digest) ?? []) this.#recent.add(known, path, dir_id);
    return known;
  }

  /** The same, and `make` makes what has no row. */
  async findOrMake(share: ShareRef, paths: string[], make: (paths: string[]) => Promise<bigint[]>): Promise<ReadonlyMap<string, bigint>> {
    const known = this.#recent.of(share.shareId);
    const unknown = paths.filter((path) => !this.#recent.has(known, share.shareId, path));
    const ids = unknown.length === 0 ? [] : await make(unknown);
    for (const [at, path] of unknown.entries()) this.#recent.add(known, path, ids[at] as bigint);
    return known;
  }
}
