/** A generated trail on a share: how it is delivered, and what must be true in the end. */
import { expect } from "vitest";
import { type AuditResult, type RunAuditOptions, runAudit } from "../../src/agent/audit.js";
import { auditCounters } from "../../src/agent/audit-counts.js";
import { createClient } from "../../src/agent/client.js";
import { type AuditCursor, AuditExclusionKind, AuditService } from "../../src/gen/frostline/v1/audit_pb.js";
import type { Scan } from "../../src/gen/frostline/v1/scan_pb.js";
import {
  type AuditedShare,
  createAuditedShare,
  liveDirectories,
  liveFiles,
  loggedAccesses,
  scanShare,
  violationsOf,
} from "./audited-share.js";
import { excludedUser, type GeneratedTrail, startSeconds } from "./generated-trail.js";
import { type FakeTree, listedAt, treeChunks } from "./ingest.js";
import { fromSeed } from "./random.js";
import type { TestServer } from "./server.js";
import { createTestTenant } from "./tenant.js";
import { difference } from "./witness.js";

/** A tenant of its own with a share that has been scanned, and the exclusion that the trail counts on. */
export async function trailShare(
  server: Pick<TestServer, "address" | "database">,
  trail: GeneratedTrail,
): Promise<AuditedShare & { scanId: bigint }> {
  const share = await createAuditedShare(server, await createTestTenant(server.database));
  const { scanId } = await scanTree(share, trail.tree, startSeconds);
  const client = createClient({ server: server.address, key: share.tenant.keys.operator });
  const exclusion = { kind: AuditExclusionKind.USER, value: excludedUser };
  await client.unary(AuditService.method.addAuditExclusion, { exclusion }).finally(client.close);
  return { ...share, scanId };
}

/** `listedAtUnix`: when the scan saw the tree. */
export function scanTree(share: AuditedShare, tree: FakeTree, listedAtUnix: number): Promise<Scan> {
  const chunks = listedAt(treeChunks(tree, fromSeed(1)), listedAtUnix);
  return scanShare(share, async function* () {
    yield* chunks;
  });
}

/** The agent, in this process. */
export async function deliver(share: AuditedShare, dir: string, options: Partial<RunAuditOptions> = {}): Promise<AuditResult> {
  const client = createClient({ server: share.server.address, key: share.tenant.keys.agent });
  const retry = { baseDelayMs: 20, maxDelayMs: 500, maxElapsedMs: 60_000 };
  return runAudit(client, { shareName: share.shareName, dir, follow: false, retry, ...options }).finally(client.close);
}

export async function cursorsOf(share: AuditedShare): Promise<AuditCursor[]> {
  const client = createClient({ server: share.server.address, key: share.tenant.keys.reader });
  const page = await client.unary(AuditService.method.listAuditCursors, { shareName: share.shareName }).finally(client.close);
  return page.cursors;
}

export function sumOf(results: AuditResult[]): Record<(typeof auditCounters)[number], number> & { all: number } {
  const sum = Object.fromEntries(auditCounters.map((name) => [name, results.reduce((n, { counts }) => n + Number(counts[name]), 0)]));
  return { ...sum, all: auditCounters.reduce((n, name) => n + (sum[name] ?? 0), 0) } as ReturnType<typeof sumOf>;
}

/** Counters of one delivery: every line in exactly one, duplicates apart. */
export function expectCounts(results: AuditResult[], trail: GeneratedTrail): void {
  const { all, duplicate, applied, stale, waiting, ...rest } = sumOf(results);
  const { duplicate: _, applied: ownApplied, stale: ownStale, waiting: ownWaiting, ...expected } = trail.counts;
  expect(all - duplicate).toBe(trail.lines);
  expect(rest).toEqual(expected);
  for (const [counted, own] of [[applied, ownApplied] as const, [stale, ownStale] as const, [waiting, ownWaiting] as const])
    expect(counted).toBeGreaterThanOrEqual(own);
  expect(applied + stale + waiting).toBe(ownApplied + ownStale + ownWaiting + trail.sharedAccesses);
}

/** The share is as the model has it, each applied access is logged once, and the cursors stand after the last whole lines. */
export async function expectOutcome(
  share: AuditedShare,
  trail: GeneratedTrail,
  logged?: number,
  cursors = cursorsAfter(trail),
): Promise<void> {
  const same = (length: number) => ({ found: length, unexpected: [], lacking: [] });
  const stored = [...(await liveFiles(share))].map(([at, { atime, frn }]) => `${at} | ${atime} | ${frn}`);
  const expected = [...trail.files].map(([at, { atime, frn }]) => `${at} | ${atime} | ${frn}`);
  expect(difference(stored, expected)).toEqual(same(expected.length));
  expect(difference(await liveDirectories(share), trail.directories)).toEqual(same(trail.directories.length));
  const accesses = await loggedAccesses(share, "/shared");
  expect(accesses.events).toBe(accesses.rows);
  expect(accesses.outside).toBe(trail.ownApplied + trail.given);
  if (logged !== undefined) expect(accesses.rows).toBe(logged + trail.given);
  expect(new Map((await cursorsOf(share)).map(({ auditFilePath, position }) => [auditFilePath, Number(position)]))).toEqual(cursors);
  expect(await violationsOf(share.server.database)).toEqual([]);
}

/** Each log's cursor stands after its last whole line. */
export function cursorsAfter(trail: GeneratedTrail): Map<string, number> {
  return new Map(trail.logs.map(({ name, bytes }) => [name, bytes.length]));
}
