/**
 * A generated trail against the model of the same rules: delivered once, twice, in other orders, by
 * two agents, while it grows. FROSTLINE_TEST_AUDIT_EVENTS: how many events, default 20,000; the trail
 * is of two files for five events.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { parseLine } from "../src/agent/lucidlink/parse.js";
import { type AuditCounts, type AuditEvent, AuditService } from "../src/gen/frostline/v1/audit_pb.js";
import { type AuditedShare, snapshotPaths, violationsOf } from "./support/audited-share.js";
import { cursorsOf, deliver, expectCounts, expectOutcome, scanTree, sumOf, trailShare } from "./support/audited-trail.js";
import { type GeneratedTrail, generateTrail, pathsOfTree, treeAfter, writeTrail } from "./support/generated-trail.js";
import { Growth } from "./support/growing-trail.js";
import { type Random, seededRandom } from "./support/random.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { difference } from "./support/witness.js";

const events = Number(process.env.FROSTLINE_TEST_AUDIT_EVENTS ?? 20_000);
const timeout = 60_000 + events * 2;

let server: TestServer;
let scratch: Scratch;
let trail: GeneratedTrail;
/** The trail as files. */
let whole: string;
beforeAll(async () => {
  trail = generateTrail(events, (events * 2) / 5);
  server = await startTestServer();
  scratch = await scratchDirectory();
  whole = path.join(scratch.path, "whole");
  await writeTrail(whole, trail.logs);
}, timeout);
afterAll(async () => {
  await server?.close();
  await scratch?.remove();
});

describe("whatever way the trail is delivered, the share is as the model has it", { timeout }, () => {
  test("once, and everything a second time", async () => {
    const share = await trailShare(server, trail);
    const result = await deliver(share, whole);
    expectCounts([result], trail);
    expect(result.unreported).toBe(0);
    const logged = sumOf([result]).applied;
    await expectOutcome(share, trail, logged);
    expect(sumOf([await deliver(share, whole)]).all).toBe(0);
    expect(await pushAgain(share, seededRandom())).toMatchObject({ duplicate: BigInt(trail.lines), applied: 0n, refused: 0n });
    await expectOutcome(share, trail, logged);

    // A scan of what is there now has it all, and changes no access time that is newer.
    const { scanId } = await scanTree(share, treeAfter(trail), Date.now() / 1000);
    const same = (paths: string[]) => ({ found: paths.length, unexpected: [], lacking: [] });
    const now = [...trail.files.keys()];
    expect(difference(await snapshotPaths(share, scanId), now)).toEqual(same(now));
    const before = pathsOfTree(trail.tree);
    expect(difference(await snapshotPaths(share, share.scanId), before)).toEqual(same(before));
    expect(await violationsOf(server.database)).toEqual([]);
  });

  test("node after node, in another order", async () => {
    const random = seededRandom();
    const share = await trailShare(server, trail);
    const results = [];
    for (const node of random.shuffle([...new Set(trail.logs.map((log) => log.node))])) {
      const dir = path.join(scratch.path, `order-${node}`);
      await writeTrail(
        dir,
        trail.logs.filter((log) => log.node === node),
      );
      results.push(await deliver(share, dir));
    }
    expectCounts(results, trail);
    await expectOutcome(share, trail, sumOf(results).applied);
  });

  test("by two agents at once", async () => {
    const share = await trailShare(server, trail);
    const results = await Promise.all([deliver(share, whole), deliver(share, whole)]);
    expectCounts(results, trail);
    await expectOutcome(share, trail, sumOf(results).applied);
  });

  test("while logs grow, are rotated, truncated and replaced", async () => {
    const share = await trailShare(server, trail);
    const dir = path.join(scratch.path, "growing");
    await fs.mkdir(path.join(dir, ".lucid_audit"), { recursive: true });
    const growth = new Growth(path.join(dir, ".lucid_audit"), trail, seededRandom(), async (name) =>
      Number((await cursorsOf(share)).find(({ auditFilePath }) => auditFilePath === name)?.position ?? 0),
    );
    const stop = new AbortController();
    const agent = deliver(share, dir, {
      follow: true,
      pollIntervalMs: 10,
      signal: stop.signal,
      onProgress: (progress) => growth.heard(progress),
    });
    const early = agent.then(() => Promise.reject(new Error("the agent has ended")));
    await Promise.race([growth.run(), early]);
    early.catch(() => {});
    stop.abort();
    const result = await agent;
    expectCounts([result], trail);
    await expectOutcome(share, trail, sumOf([result]).applied, growth.cursors);
    const generations = (await cursorsOf(share)).map(({ auditFilePath, generation }) => [auditFilePath, generation]);
    const usual = generations.find(([name]) => name !== growth.replaced)?.[1] as number;
    expect(generations.filter(([, generation]) => generation !== usual)).toEqual([[growth.replaced, usual + 1]]);
  });
});

/** All logs once more, from their first byte, in batches of another cut. */
async function pushAgain(share: AuditedShare, random: Random): Promise<AuditCounts | undefined> {
  const client = createClient({ server: share.server.address, key: share.tenant.keys.agent });
  const stream = client.clientStream(AuditService.method.pushAudit);
  await stream.send({ message: { case: "open", value: { shareName: share.shareName, volumeId: "" } } });
  for (const { name, bytes } of trail.logs) {
    const headFingerprint = createHash("sha256")
      .update(bytes.subarray(0, bytes.indexOf("\n") + 1))
      .digest();
    for (let start = 0; start < bytes.length; ) {
      const end = bytes.indexOf("\n", Math.min(bytes.length - 1, start + random.between(0, 300_000))) + 1;
      const batch = {
        auditFilePath: name,
        headFingerprint,
        startOffset: BigInt(start),
        endOffset: BigInt(end),
        events: eventsOf(bytes, start, end),
      };
      await stream.send({ message: { case: "batch", value: batch } });
      start = end;
    }
  }
  const { counts } = await stream.finish();
  client.close();
  return counts;
}

function eventsOf(bytes: Buffer, start: number, end: number): AuditEvent[] {
  const events: AuditEvent[] = [];
  for (let at = start; at < end; ) {
    const next = bytes.indexOf("\n", at) + 1;
    events.push(parseLine(bytes.subarray(at, next - 1), at).event);
    at = next;
  }
  return events;
}
