/** Of two generations, so that what is asked for again and again stays when others go. */
type Generation = Map<bigint, Map<string, bigint>>;

/** Ids by share and path; those that were not asked for lately are forgotten. */
export class RecentIds {
  #young: Generation = new Map();
  #old: Generation = new Map();
  #youngPaths = 0;
  readonly #atMost: number;

  /** It holds up to twice as many paths as are told. */
  constructor(atMost: number) {
    this.#atMost = atMost;
  }

  /** Those of a share. What a caller holds stays as it is, and has what was looked for with `has` or was added. */
  of(shareId: bigint): Map<string, bigint> {
    if (this.#youngPaths > this.#atMost) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngPaths = 0;
    }
    const ids = this.#young.get(shareId) ?? new Map<string, bigint>();
    this.#young.set(shareId, ids);
    return ids;
  }

  has(ids: Map<string, bigint>, shareId: bigint, path: string): boolean {
    if (ids.has(path)) return true;
    const id = this.#old.get(shareId)?.get(path);
    if (id === undefined) return false;
    this.add(ids, path, id);
    return true;
  }

  add(ids: Map<string, bigint>, path: string, id: bigint): void {
    ids.set(copyOf(path), id);
    this.#youngPaths += 1;
  }
}

/** A part of a string holds all of it: a directory's path, cut off a file's, takes 189 bytes here, and a copy 125. */
function copyOf(path: string): string {
  return Buffer.from(path).toString();
}
