/** lstat of many files: one after the other where that is fastest, many in flight where each may take long. */
import * as fs from "node:fs";
import type { BlockingCalls } from "./blocking-calls.js";

/** With a network or a disk to wait for, this many keep Node's threads busy. */
const inFlightAtMost = 64;

/** Text that is ASCII, or bytes. */
export type FilePath = string | Buffer;

export type StatResult = fs.BigIntStats | NodeJS.ErrnoException;

interface Batch {
  paths: FilePath[];
  results: StatResult[];
  next: number;
  left: number;
  done: (results: StatResult[]) => void;
}

export interface StatPool {
  /**
   * One result for each path, in their order; a path's error is its result. `local`: the files are on a local disk, which
   * never hangs, so that what is cached may be asked for on this thread.
   */
  lstatAll(paths: FilePath[], local: boolean): Promise<StatResult[]>;
}

/** Callbacks rather than promises for each file: a promise costs as much as the call. */
export function createStatPool(blocking: BlockingCalls): StatPool {
  const queue: Batch[] = [];
  let inFlight = 0;

  /** Asks on this thread until a call waits for the disk; returns how many results there are. */
  function askHere(paths: FilePath[], results: StatResult[]): number {
    let before = performance.now();
    let asked = 0;
    while (asked < paths.length && blocking.advisable) {
      results[asked] = lstatHere(paths[asked] as FilePath);
      asked++;
      const now = performance.now();
      blocking.took(now - before);
      before = now;
    }
    return asked;
  }

  function pump(): void {
    for (let batch = queue[0]; batch !== undefined && inFlight < inFlightAtMost; batch = queue[0]) {
      start(batch, batch.next++);
      if (batch.next === batch.paths.length) queue.shift();
    }
  }

  function start(batch: Batch, index: number): void {
    inFlight++;
    fs.lstat(batch.paths[index] as FilePath, { bigint: true }, (error, stats) => {
      inFlight--;
      batch.results[index] = error ?? stats;
      if (--batch.left === 0) batch.done(batch.results);
      pump();
    });
  }

  return {
    async lstatAll(paths, local) {
      const results = new Array<StatResult>(paths.length);
      const next = local ? askHere(paths, results) : 0;
      if (next === paths.length) return results;
      blocking.madeInFlight(paths.length - next);
      return new Promise((done) => {
        queue.push({ paths, results, next, left: paths.length - next, done });
        pump();
      });
    },
  };
}

function lstatHere(path: FilePath): StatResult {
  try {
    return fs.lstatSync(path, { bigint: true });
  } catch (error) {
    return error as NodeJS.ErrnoException;
  }
}
