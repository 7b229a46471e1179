/** Breakages of what is bounded, given back and kept over a crash. */
import type { Breakage } from "./breakage.js";

export const ofBounds: Breakage[] = [
  {
    name: "a stream is read on although the database is behind",
    changes: [
      {
        file: "src/ingest/push.ts",
        find: "    while (this.#inFlight.size >= limits.segmentsInFlight) {\n",
        replace: "    while (this.#inFlight.size >= 1000 * limits.segmentsInFlight) {\n",
      },
    ],
    caughtBy: {
      file: "test/streams.test.ts",
      title: "while nothing can be merged two segments of a stream are on their way, and no third is begun",
    },
  },
  {
    name: "a call's statement goes on although nobody waits for it",
    changes: [
      {
        file: "src/db/tenant.ts",
        find: "const cancelling = signal && cancelOnAbort(signal, cancel);",
        replace: "const cancelling = signal?.aborted ? cancelOnAbort(signal, cancel) : undefined;",
      },
    ],
    caughtBy: {
      file: "test/limits.test.ts",
      title: "under way are bounded, and end with their client or their deadline, in the database as well",
    },
  },
  {
    name: "the place of a call that has ended stays taken",
    changes: [
      { file: "src/limits/open-calls.ts", find: "if (this.#holders === 0) this.#free();", replace: "if (this.#holders < 0) this.#free();" },
    ],
    caughtBy: { file: "test/limits.test.ts", title: "one's place comes free when %s" },
  },
  {
    name: "a server that stops does not tell its scan streams",
    changes: [
      { file: "src/ingest/push.ts", find: "  const drain = () => stream.fail(draining());\n", replace: "  const drain = () => {};\n" },
    ],
    caughtBy: {
      file: "test/server.test.ts",
      title: "a stopping server ends open streams as UNAVAILABLE, and is gone well before its deadline",
    },
  },
  {
    name: "the embedded database does not flush what it commits",
    changes: [{ file: "src/db/embedded.ts", find: '    jit: "off",\n', replace: '    jit: "off",\n    fsync: "off",\n' }],
    caughtBy: { file: "src/db/embedded.test.ts", title: "each role logs in with its own password, nobody without" },
  },
];
