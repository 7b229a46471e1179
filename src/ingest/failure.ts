/** A failure that may come while something else is awaited. */

/**
 * Ends every wait of its owner with one error, now and later. Not a promise to race against: such a
 * promise keeps the outcome of each race until it settles itself, here every message of the stream.
 */
export class Failure {
  #error: unknown;
  #failed = false;
  readonly #waiting = new Set<(error: unknown) => void>();

  /** The first error counts. */
  fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#error = error;
    for (const reject of this.#waiting) reject(error);
    this.#waiting.clear();
  }

  throwIfFailed(): void {
    if (this.#failed) throw this.#error;
  }

  /** What `promise` settles to; rejects with the failure once there is one. */
  async unlessFailed<T>(promise: Promise<T>): Promise<T> {
    if (this.#failed) {
      // Nobody waits for it any more.
      promise.catch(() => {});
      throw this.#error;
    }
    let stop: (error: unknown) => void = () => {};
    const failed = new Promise<never>((_, reject) => {
      stop = reject;
    });
    this.#waiting.add(stop);
    try {
      return await Promise.race([promise, failed]);
    } finally {
      this.#waiting.delete(stop);
    }
  }
}
