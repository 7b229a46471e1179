/** lstat of many files, with a bounded number in flight. */
import * as fs from "node:fs";

/** 64 in flight measured 1.8 us a file, one after the other 2.7. */
const inFlightAtMost = 64;

export type StatResult = fs.BigIntStats | NodeJS.ErrnoException;

interface Batch {
  paths: Buffer[];
  results: StatResult[];
  next: number;
  left: number;
  done: (results: StatResult[]) => void;
}

export interface StatPool {
  /** One result for each path, in their order; a path's error is its result. */
  lstatAll(paths: Buffer[]): Promise<StatResult[]>;
}

/** Callbacks rather than promises for each file: a promise costs as much as the call. */
export function createStatPool(): StatPool {
  const queue: Batch[] = [];
  let inFlight = 0;

  function pump(): void {
    for (let batch = queue[0]; batch !== undefined && inFlight < inFlightAtMost; batch = queue[0]) {
      start(batch, batch.next++);
      if (batch.next === batch.paths.length) queue.shift();
    }
  }

  function start(batch: Batch, index: number): void {
    inFlight++;
    fs.lstat(batch.paths[index] as Buffer, { bigint: true }, (error, stats) => {
      inFlight--;
      batch.results[index] = error ?? stats;
      if (--batch.left === 0) batch.done(batch.results);
      pump();
    });
  }

  return {
    lstatAll(paths) {
      if (paths.length === 0) return Promise.resolve([]);
      return new Promise((done) => {
        queue.push({ paths, results: new Array(paths.length), next: 0, left: paths.length, done });
        pump();
      });
    },
  };
}
