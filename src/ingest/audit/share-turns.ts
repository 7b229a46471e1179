/** Turns of the streams of a share: who waits holds no connection meanwhile. */
export class ShareTurns {
  readonly #last = new Map<bigint, Promise<void>>();

  /** Resolves when all that asked before for this share have ended their turn, with what ends this one; a second call of it does nothing. */
  async take(shareId: bigint): Promise<() => void> {
    const before = this.#last.get(shareId);
    let end: () => void = () => {};
    const own = new Promise<void>((resolve) => {
      end = () => {
        if (this.#last.get(shareId) === own) this.#last.delete(shareId);
        resolve();
      };
    });
    this.#last.set(shareId, own);
    await before;
    return end;
  }
}
