/**
 * Whether a listing may have a name twice, told by a hash of each name: no means no, yes may be wrong. The database looks only where it may:
 * grouping all rows by name took it a fifth of a rescan.
 */

/** Of FNV-1a with 32 bits. */
export const hashStart = 0x811c9dc5 | 0;
const hashPrime = 0x01000193;

export function hashByte(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, hashPrime);
}

const slots = 65_536;
/** Of a listing. With more than so many the slots are searched for long, and two names that share a hash are to be expected. */
const namesAtMost = 20_000;
/** Slots that are looked at for a name. Hashes that were chosen to share slots would have all of them looked at. */
const looksAtMost = 32;

export class NamesSeen {
  readonly #hashes = new Int32Array(slots);
  /** Of which listing the slot's hash is: so nothing has to be cleared. */
  readonly #listings = new Uint32Array(slots);
  #listing = 0;
  #names = 0;

  /** A listing begins. */
  begin(): void {
    this.#names = 0;
    this.#listing += 1;
    if (this.#listing < 2 ** 32) return;
    this.#listings.fill(0);
    this.#listing = 1;
  }

  /** Returns whether a name with this hash was added since `begin`, or there are too many names, or too many like it, to tell. */
  add(hash: number): boolean {
    if (this.#names === namesAtMost) return true;
    this.#names += 1;
    for (let look = 0; look < looksAtMost; look++) {
      const at = (hash + look) & (slots - 1);
      if (this.#listings[at] !== this.#listing) {
        this.#listings[at] = this.#listing;
        this.#hashes[at] = hash;
        return false;
      }
      if (this.#hashes[at] === hash) return true;
    }
    return true;
  }
}
