/** Breakages of how scans get into the database, and of the agent that sends them. */
import type { Breakage } from "./breakage.js";

export const ofScans: Breakage[] = [
  {
    name: "a chunk is merged without its ledger row",
    changes: [
      {
        file: "src/ingest/advance.ts",
        find: "  await merge.insertLedger(client, share.tenantId, scanId, writer.writer, firstChunkNo, nextChunkNo);\n",
        replace: "",
      },
    ],
    caughtBy: { file: "test/streams.test.ts", title: "a gap names the number to go on with, and what came before it is kept" },
  },
  {
    name: "a writer's position is committed before the ledger and the counts",
    changes: [
      {
        file: "src/ingest/advance.ts",
        find: "  await advanceWriter(client, writer, segment);\n",
        replace: `  await advanceWriter(client, writer, segment);
  await client.query("COMMIT");
  await client.query(\`BEGIN; SET LOCAL app.tenant_id = '\${share.tenantId}'\`);\n`,
      },
    ],
    caughtBy: { file: "test/undone.test.ts", title: "a segment that fails at the last leaves nothing; sent again, it is stored once" },
  },
  {
    name: "a scan stream is answered while its last segment is on its way",
    changes: [
      {
        file: "src/ingest/push.ts",
        find: "    await this.cut();\n    await this.#last.committed;\n    // What the database found",
        replace: "    await this.cut();\n    // What the database found",
      },
    ],
    caughtBy: { file: "test/acknowledged.test.ts", title: "a scan stream is not answered before its last COMMIT has come back" },
  },
  {
    name: "a segment counts as committed before its COMMIT has come back",
    changes: [
      {
        file: "src/ingest/commit-segment.ts",
        find: '    await client.query("COMMIT");\n',
        replace: '    client.query("COMMIT").catch(() => {});\n',
      },
    ],
    caughtBy: { file: "test/acknowledged.test.ts", title: "a scan stream is not answered before its last COMMIT has come back" },
  },
  {
    name: "segments ignore the writer's epoch",
    changes: [
      {
        file: "src/ingest/advance.ts",
        find: "AND writer = $3 AND epoch = $4 AND next_chunk_no = $7`",
        replace: "AND writer = $3 AND $4::bigint IS NOT NULL AND next_chunk_no = $7`",
      },
      {
        file: "src/ingest/commit-segment.ts",
        find: "if (row === undefined || row.epoch !== writer.epoch) throw",
        replace: "if (row === undefined) throw",
      },
    ],
    caughtBy: { file: "test/streams.test.ts", title: "even one that was refused for its number" },
  },
  {
    name: "a stream may open at any chunk number",
    changes: [
      {
        file: "src/ingest/writers.ts",
        find: "if (open.nextChunkNo !== undefined && open.nextChunkNo !== opened.nextChunkNo) {",
        replace: "if (open.nextChunkNo !== undefined && open.nextChunkNo < 0n) {",
      },
    ],
    caughtBy: {
      file: "test/streams.test.ts",
      title: "a stream that tells another first number than the next ends before anything of it is read",
    },
  },
  {
    name: "an agent that resumes walks from the beginning",
    changes: [
      {
        file: "src/agent/push.ts",
        find: "const resumeAfter = position.resumeToken.length > 0 ? position.resumeToken : undefined;",
        replace: "const resumeAfter = undefined;",
      },
    ],
    caughtBy: { file: "src/agent/push.test.ts", title: "the stream is made again from the server's position, as often as it breaks" },
  },
  {
    name: "an agent resumes behind a directory that was sent in part",
    changes: [
      {
        file: "src/agent/chunker.ts",
        find: "    unfinished = listing.more;\n",
        replace: "    unfinished = listing.more;\n    token = listing.path;\n",
      },
    ],
    caughtBy: {
      file: "src/agent/chunker.test.ts",
      title: "chunks hold exactly the listings, each is bounded, and its token is the last whole directory",
    },
  },
  {
    name: "the brake is skipped in a segment",
    changes: [
      {
        file: "src/ingest/advance.ts",
        find: "s.gone + $8::bigint - $12::bigint <= coalesce(",
        replace: "0 <= coalesce(",
      },
    ],
    caughtBy: { file: "test/scan-states.test.ts", title: "stops a segment before it is stored, until it is confirmed" },
  },
  {
    name: "the brake is skipped at the end of a scan",
    changes: [
      {
        file: "src/ingest/finish.ts",
        find: "if (wanted === scan.gone || isWithinLimit(scan, wanted)) return undefined;",
        replace: "if (wanted >= scan.gone) return undefined;",
      },
    ],
    caughtBy: {
      file: "test/scan-states.test.ts",
      title: "stops the finish, for directories that were not seen; abort leaves them as they were",
    },
  },
  {
    name: "a scan may list a directory twice",
    changes: [
      {
        file: "src/ingest/merge.ts",
        find: "d.dir_id = s.dir_id\n       AND d.last_listed_scan_id IS DISTINCT FROM $2\n",
        replace: "d.dir_id = s.dir_id\n",
      },
    ],
    caughtBy: { file: "test/streams.test.ts", title: "over two streams" },
  },
  {
    name: "a scan ends although chunks are lacking",
    changes: [{ file: "src/ingest/finish.ts", find: "    if (sent === stored) continue;\n", replace: "    if (sent >= 0n) continue;\n" }],
    caughtBy: { file: "test/scan-states.test.ts", title: "finish with counts that disagree is refused, and can be mended" },
  },
  {
    name: "a file that moved is another one",
    changes: [
      {
        file: "src/ingest/finish.ts",
        find: "  if (!(await anyLeft(client, tenantId, scan))) return 0;\n",
        replace: "  if (await anyLeft(client, tenantId, scan)) return 0;\n",
      },
    ],
    caughtBy: { file: "test/scan-states.test.ts", title: "the one file of a share may move, not vanish" },
  },
  {
    name: "a directory that could not be read counts as empty",
    changes: [
      {
        file: "src/ingest/segment.ts",
        find: 'directory.complete = listing.complete && !listing.more && listing.unreadableReason === "";',
        replace: "directory.complete = !listing.more;",
      },
    ],
    caughtBy: { file: "test/scan-states.test.ts", title: "nor by what could not be read" },
  },
  {
    name: "a scan takes back an access that an event told of",
    changes: [
      {
        file: "src/ingest/merge.ts",
        find: "atime_unix = GREATEST(c.atime_unix, s.atime_unix), scanned_atime_unix",
        replace: "atime_unix = s.atime_unix, scanned_atime_unix",
      },
    ],
    caughtBy: {
      file: "test/scan-and-audit.test.ts",
      title: "people work on a tree while it is walked, and their events arrive sooner or later: after a quiet scan all is as it is",
    },
  },
  {
    name: "a listing that is older than an event takes away what the event brought",
    changes: [
      {
        file: "src/ingest/merge.ts",
        find: "WHEN s.ordinal IS NULL THEN CASE WHEN c.complete AND c.dir_id <> ALL($2::bigint[]) THEN",
        replace: "WHEN s.ordinal IS NULL THEN CASE WHEN c.complete THEN",
      },
    ],
    caughtBy: {
      file: "test/scan-and-audit.test.ts",
      title: "people work on a tree while it is walked, and their events arrive sooner or later: after a quiet scan all is as it is",
    },
  },
];
