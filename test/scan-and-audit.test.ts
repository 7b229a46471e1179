/** Scan and audit events of one share at the same time. FROSTLINE_TEST_ROUNDS: how often, default 4. */
import * as fs from "node:fs";
import * as path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { toChunks } from "../src/agent/chunker.js";
import { type Client, createClient } from "../src/agent/client.js";
import { runScan } from "../src/agent/push.js";
import { walk } from "../src/agent/walk.js";
import { type AuditEvent, AuditService } from "../src/gen/frostline/v1/audit_pb.js";
import { type Chunk, ScanMode } from "../src/gen/frostline/v1/scan_pb.js";
import {
  type AuditedShare,
  createAuditedShare,
  type LiveFile,
  liveDirectories,
  liveFiles,
  snapshotPaths,
  violationsOf,
} from "./support/audited-share.js";
import { BusyTree } from "./support/busy-tree.js";
import { withClient } from "./support/postgres.js";
import { seededRandom } from "./support/random.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { difference } from "./support/witness.js";

const rounds = Number(process.env.FROSTLINE_TEST_ROUNDS ?? 4);

let server: TestServer;
let scratch: Scratch;
let client: Client;
beforeAll(async () => {
  server = await startTestServer();
  scratch = await scratchDirectory();
  client = createClient({ server: server.address, key: server.keys.agent });
});
afterAll(async () => {
  client?.close();
  await server?.close();
  await scratch?.remove();
});

async function pushEvents(shareName: string, events: AuditEvent[]): Promise<void> {
  const [first, last] = [events[0], events.at(-1)];
  if (first === undefined || last === undefined) return;
  const stream = client.clientStream(AuditService.method.pushAudit);
  await stream.send({ message: { case: "open", value: { shareName, volumeId: "volume" } } });
  const batch = {
    auditFilePath: "node/trail.log",
    headFingerprint: Buffer.from("head"),
    startOffset: first.offset,
    endOffset: last.offset + 1n,
  };
  await stream.send({ message: { case: "batch", value: { ...batch, events } } });
  await stream.finish();
}

/** Chunks of a few directories each; `between` runs before each of them. */
async function* chunksOf(root: string, between: () => Promise<void>): AsyncGenerator<Chunk> {
  for await (const chunk of toChunks(walk(root, { readAhead: 4 }), { targetBytes: 500 })) {
    await between();
    yield chunk;
  }
}

async function scan(share: AuditedShare, root: string, between: () => Promise<void> = async () => {}): Promise<bigint> {
  const source = () => chunksOf(root, between);
  const { scan: done } = await runScan(client, {
    shareName: share.shareName,
    mode: ScanMode.FULL,
    uniqueFrn: false,
    exactListTimes: true,
    resume: "auto",
    source,
  });
  return done.scanId;
}

/** How events reach the server: at once, a little late, or long after a scan has seen what they tell of. */
type Arrival = "prompt" | "late" | "afterwards";

/** As if all events so far had been ten minutes ago: listings are trusted again. */
async function tenMinutesPass(share: AuditedShare): Promise<void> {
  await withClient(server.database.superuserUrl, async (superuser) => {
    for (const table of ["dir", "file_current"])
      await superuser.query(
        `UPDATE ${table} SET last_structural_event_utc = last_structural_event_utc - interval '10 minutes' WHERE tenant_id = $1`,
        [share.tenant.tenantId],
      );
  });
}

test("people work on a tree while it is walked, and their events arrive sooner or later: after a quiet scan all is as it is", {
  timeout: 60_000 + rounds * 10_000,
}, async () => {
  const random = seededRandom();
  const root = path.join(scratch.path, "tree");
  fs.mkdirSync(root);
  const tree = new BusyTree(root, random);
  const share = await createAuditedShare(server, server);
  const knownAs = new Map<number, { id: string; sizeBytes: string | null }>();
  /**
   * Everything is as on the real tree. An access time may be newer where the file has a name that another one had when it was
   * read; where events were a little late, and the clocks can't tell whether the scan or they saw more, also older.
   */
  const expectTruth = async (scanId: bigint, arrival: Arrival) => {
    const live = await liveFiles(share);
    const stored = [...live].map(([at, { sizeBytes }]) => `${at} | ${sizeBytes}`);
    const expected = [...tree.files.keys()].map((at) => `${at} | ${fs.statSync(path.join(root, at)).size}`);
    expect(difference(stored, expected)).toEqual({ found: expected.length, unexpected: [], lacking: [] });
    expect(await liveDirectories(share)).toEqual([...tree.directories].sort());
    expect(await snapshotPaths(share, scanId)).toEqual([...tree.files.keys()].sort());
    for (const [at, file] of tree.files) {
      const { id, atime, sizeBytes } = live.get(at) as LiveFile;
      const scannedAtime = Math.floor(fs.statSync(path.join(root, at)).atimeMs / 1000);
      // A creation is an access only if it is how the file became known.
      const newest = Math.max(scannedAtime, file.eventAtime, arrival === "prompt" ? file.createdUnix : 0);
      if (arrival === "prompt") expect(atime, at).toBe(newest);
      else {
        expect(atime, at).toBeGreaterThanOrEqual(arrival === "late" ? scannedAtime : newest);
        expect(atime, at).toBeLessThanOrEqual(Math.max(newest, Math.floor(Date.now() / 1000)));
        file.eventAtime = atime;
        file.createdUnix = 0;
      }
      const before = knownAs.get(file.no);
      // A scan alone takes a file that was written and moved for another.
      if (before && (arrival === "prompt" || (arrival === "afterwards" && before.sizeBytes === sizeBytes))) expect(id, at).toBe(before.id);
      knownAs.set(file.no, { id, sizeBytes });
    }
    expect(await violationsOf(server.database)).toEqual([]);
  };
  await expectTruth(await scan(share, root), "prompt");
  for (let round = 0; round < rounds; round++) {
    const arrival = (["prompt", "late", "afterwards", "prompt"] as const)[round % 4] as Arrival;
    if (arrival === "afterwards") {
      tree.clockBehindSeconds = 600;
      for (const file of tree.files.values()) file.eventAtime = 0;
      for (let deeds = 0; deeds < 60; deeds++) tree.act();
      const scanId = await scan(share, root);
      tree.clockBehindSeconds = 0;
      await pushEvents(share.shareName, tree.takeEvents());
      await expectTruth(scanId, arrival);
      continue;
    }
    const promptness = arrival === "prompt" ? 1 : random.pick([0.3, 0]);
    await scan(share, root, async () => {
      for (let deeds = random.between(0, 12); deeds > 0; deeds--) {
        tree.act();
        if (random.next() < promptness) await pushEvents(share.shareName, tree.takeEvents());
      }
    });
    await pushEvents(share.shareName, tree.takeEvents());
    await tenMinutesPass(share);
    await expectTruth(await scan(share, root), arrival);
  }
});
