/** Loaded with --import before a program: samples all that it allocates, also what is collected again, into FROSTLINE_BENCH_ALLOCATIONS when it ends. */
import * as fs from "node:fs";
import { Session } from "node:inspector";
import { isMainThread } from "node:worker_threads";

const file = process.env.FROSTLINE_BENCH_ALLOCATIONS;
if (isMainThread && file !== undefined) {
  const session = new Session();
  session.connect();
  const options = { samplingInterval: 64 * 1024, includeObjectsCollectedByMajorGC: true, includeObjectsCollectedByMinorGC: true };
  session.post("HeapProfiler.startSampling", options);
  process.once("exit", () => {
    // The answer of an inspector in the same thread comes before post returns.
    session.post("HeapProfiler.stopSampling", (error, result) => {
      if (error) throw error;
      fs.writeFileSync(file, JSON.stringify(result.profile));
    });
  });
}
