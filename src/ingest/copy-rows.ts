/** Rows of a binary COPY (https://www.postgresql.org/docs/current/sql-copy.html), gathered and handed on as large buffers. */

const bufferBytes = 128 * 1024;
/** A row is never split: longest name and extension, owner, and some 250 bytes of fixed fields. */
const rowBytesAtMost = 4096;

const header = Buffer.concat([Buffer.from("PGCOPY\n\xff\r\n\0", "latin1"), Buffer.alloc(8)]);
const trailer = Buffer.from([0xff, 0xff]);

/**
 * A queue of encoded rows with one producer and one consumer. The producer writes rows into `buffer`;
 * the consumer iterates over buffers until `end` is called. Nothing but
 * `bytesHeld` bounds it: a producer that may not grow further waits for `drained`.
 */
export class CopyRows {
  #ready: Buffer[] = [header];
  #heldBytes = 0;
  #ended = false;
  #failed: Error | undefined;
  #wakeConsumer: (() => void) | undefined;
  #wakeProducer: (() => void) | undefined;

  /** Where the next row goes. */
  buffer = Buffer.allocUnsafe(bufferBytes);
  at = 0;
  /** Rows written so far. */
  rowCount = 0;

  /** Bytes that the consumer has not taken yet. */
  get heldBytes(): number {
    return this.#heldBytes + this.at;
  }

  /** Makes room for one row in `buffer`, from `at` on. The producer writes it there and moves `at` behind it. */
  beginRow(): void {
    if (this.at + rowBytesAtMost > bufferBytes) this.#flush();
    this.rowCount += 1;
  }

  /** No more rows. */
  end(): void {
    this.#flush();
    this.#ready.push(trailer);
    this.#ended = true;
    this.#wakeConsumer?.();
  }

  /** The consumer will take no more: a producer that waits in `drained` gets this error. */
  fail(error: Error): void {
    this.#failed = error;
    this.#wakeProducer?.();
    this.#wakeConsumer?.();
  }

  /** Resolves once the consumer holds the producer up by less than `bytes`. Rejects after `fail`. */
  async drained(bytes: number): Promise<void> {
    while (this.heldBytes > bytes) {
      if (this.#failed) throw this.#failed;
      await new Promise<void>((resolve) => {
        this.#wakeProducer = resolve;
      });
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      const next = this.#ready.shift();
      if (next) {
        if (next !== header && next !== trailer) this.#heldBytes -= next.length;
        this.#wakeProducer?.();
        yield next;
      } else if (this.#failed) {
        throw this.#failed;
      } else if (this.#ended) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wakeConsumer = resolve;
        });
      }
    }
  }

  #flush(): void {
    if (this.at === 0) return;
    this.#ready.push(this.buffer.subarray(0, this.at));
    this.#heldBytes += this.at;
    this.buffer = Buffer.allocUnsafe(bufferBytes);
    this.at = 0;
    this.#wakeConsumer?.();
  }
}
