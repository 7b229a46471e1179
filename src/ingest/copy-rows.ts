/** Rows of a binary COPY (https://www.postgresql.org/docs/current/sql-copy.html), gathered and handed on as large buffers. */

const bufferBytes = 128 * 1024;
/** A row is never split: longest name and extension, owner, and some 250 bytes of fixed fields. */
const rowBytesAtMost = 4096;

const header = Buffer.concat([Buffer.from("PGCOPY\n\xff\r\n\0", "latin1"), Buffer.alloc(8)]);
const trailer = Buffer.from([0xff, 0xff]);

/**
 * A queue of encoded rows with one producer and one consumer. The producer writes fields in the
 * order of the columns; the consumer iterates over buffers until `end` is called. Nothing but
 * `bytesHeld` bounds it: a producer that may not grow further waits for `drained`.
 */
export class CopyRows {
  #ready: Buffer[] = [header];
  #current = Buffer.allocUnsafe(bufferBytes);
  #at = 0;
  #heldBytes = 0;
  #ended = false;
  #failed: Error | undefined;
  #wakeConsumer: (() => void) | undefined;
  #wakeProducer: (() => void) | undefined;

  /** Rows written so far. */
  rowCount = 0;

  /** Bytes that the consumer has not taken yet. */
  get heldBytes(): number {
    return this.#heldBytes + this.#at;
  }

  /** Starts a row of `fields` fields. */
  beginRow(fields: number): void {
    if (this.#at + rowBytesAtMost > bufferBytes) this.#flush();
    this.#at = this.#current.writeInt16BE(fields, this.#at);
    this.rowCount += 1;
  }

  null(): void {
    this.#at = this.#current.writeInt32BE(-1, this.#at);
  }

  bool(value: boolean): void {
    this.#at = this.#current.writeInt32BE(1, this.#at);
    this.#current[this.#at++] = value ? 1 : 0;
  }

  int4(value: number): void {
    this.#at = this.#current.writeInt32BE(4, this.#at);
    this.#at = this.#current.writeInt32BE(value, this.#at);
  }

  int8(value: bigint): void {
    this.#at = this.#current.writeInt32BE(8, this.#at);
    this.#at = this.#current.writeBigInt64BE(value, this.#at);
  }

  /** text, bytea or uuid, as its bytes. */
  bytes(value: Uint8Array): void {
    this.#at = this.#current.writeInt32BE(value.length, this.#at);
    this.#current.set(value, this.#at);
    this.#at += value.length;
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
    if (this.#at === 0) return;
    this.#ready.push(this.#current.subarray(0, this.#at));
    this.#heldBytes += this.#at;
    this.#current = Buffer.allocUnsafe(bufferBytes);
    this.#at = 0;
    this.#wakeConsumer?.();
  }
}
