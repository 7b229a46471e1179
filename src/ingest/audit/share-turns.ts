/** Turns of the streams of a share: a transaction has the share alone, so only one at a time need hold a connection. */
export class ShareTurns {
  readonly #last = new Map<bigint, Promise<void>>();

  /** Runs `work` once all that asked before for this share are through; its result or error. */
  async inTurn<T>(shareId: bigint, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(shareId);
    let end: () => void = () => {};
    const own = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#last.set(shareId, own);
    try {
      await before;
      return await work();
    } finally {
      end();
      if (this.#last.get(shareId) === own) this.#last.delete(shareId);
    }
  }
}
