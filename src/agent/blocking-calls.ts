/**
 * Whether file system calls may be made on the walk's own thread. What a local disk has cached is had in less time than it costs to hand the
 * call to one of Node's threads (an lstat 1.8 us instead of 3.2); where the disk must be waited for, many calls at a time are better.
 */
import { setImmediate } from "node:timers/promises";

/** A call that takes longer than this may have waited for a disk, or for the processor. */
const slowCallMs = 0.2;
/** After a call that waited for a disk, so many are made in flight before the next is tried here. */
const inFlightAfterWait = 256;
/** The longest that other work of this thread is kept waiting, one directory aside. */
const turnMs = 10;

export class BlockingCalls {
  /** Calls to make in flight before this thread is tried again. */
  #inFlightLeft = 0;
  #diskReads = diskReads();
  #turnBeganMs = performance.now();

  get advisable(): boolean {
    return this.#inFlightLeft <= 0;
  }

  /** Of a call that was made here. */
  took(ms: number): void {
    if (ms <= slowCallMs) return;
    const reads = diskReads();
    if (reads > this.#diskReads) this.#inFlightLeft = inFlightAfterWait;
    this.#diskReads = reads;
  }

  madeInFlight(count: number): void {
    this.#inFlightLeft -= count;
  }

  /** Lets other work of this thread have its turn. */
  async pause(): Promise<void> {
    if (performance.now() - this.#turnBeganMs < turnMs) return;
    await setImmediate();
    this.#turnBeganMs = performance.now();
  }
}

/** Blocks that the process had to have read, by all its threads. */
function diskReads(): number {
  return process.resourceUsage().fsRead;
}
