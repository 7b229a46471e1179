/**
 * The end of a scan: counts must agree, moved files are matched, what was not seen goes missing.
 *
 * Each step is a transaction under the share's exclusive lock, and each finds out anew what is
 * left to do: a crash, a repeated call or two calls at once change nothing of the outcome.
 */
import type { PoolClient } from "pg";
import { toDomainError } from "../db/errors.js";
import { beginFor } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { firstWaitingKey, settlePage, type WaitingKey } from "./audit/settle.js";
import { fixLimit, isWithinLimit } from "./brake.js";
import type { IngestConnections } from "./connections.js";
import type { ShareRef } from "./directories.js";
import { finishBatchDirs, finishBatchFiles } from "./limits.js";
import { lockShare } from "./locks.js";
import { adoptMoves, anyLeft, type Moves, pairMoved } from "./moves.js";
import type { IngestContext } from "./push.js";
import { reconcileLeft } from "./reconcile.js";
import { BrakeHolds, scanClosed } from "./scan-errors.js";
import { readScan, type ScanRow } from "./scans.js";
import { countLiveInVanished, markBatchMissing, markVanishedDirectories, stageVanished } from "./vanished.js";

type Step<T> = (client: PoolClient, scan: ScanRow) => Promise<T>;

/**
 * Finishes a scan; `chunks` is how many chunks the agent sent, by writer. Returns the scan, OK or WARN.
 * Throws NOT_FOUND; FAILED_PRECONDITION when the counts disagree, the brake holds, or the scan was abandoned.
 */
export async function finishScan(
  { connections, observer }: Pick<IngestContext, "connections" | "observer">,
  tenantId: string,
  scanId: bigint,
  chunks: Record<string, bigint>,
): Promise<ScanRow> {
  const step = <T>(work: Step<T>) => inStep(connections, tenantId, scanId, work);
  const auditStep = <T>(work: Step<T>) => inStep(connections, tenantId, scanId, work, "audit");
  const first = await step(async (client, scan) => {
    if (scan.status === "RUNNING") await closeToChunks(client, tenantId, scan, chunks);
    return scan;
  });
  if (first.status === "OK" || first.status === "WARN") return first;
  if (first.status !== "RUNNING") throw scanClosed(scanId, first.status);
  await untilNone(
    () => step(runningOnly((client, scan) => matchMoves(client, tenantId, scan, true))),
    (moved) => observer.filesFinished({ moved }),
  );
  const held = await step(runningOnly((client, scan) => applyBrake(client, tenantId, scan)));
  if (held) throw held;
  await untilNone(
    () => step(runningOnly((client, scan) => vanishBatch(client, tenantId, scan))),
    (missing) => observer.filesFinished({ missing }),
  );
  while ((await step(runningOnly((client, scan) => reconcileBatch(client, tenantId, scan)))) > 0);
  for (let key: WaitingKey | undefined = firstWaitingKey; key; ) key = await settleBatch(auditStep, tenantId, key);
  const finished = await step((client, scan) => close(client, tenantId, scan));
  if (needsStatistics(finished)) await transact(connections, tenantId, (client) => client.query("SELECT analyze_tenant($1)", [tenantId]));
  return finished;
}

/** Batch after batch, until one finds nothing left to do; `tell` is told of each that is committed. */
async function untilNone(batch: () => Promise<number>, tell: (files: number) => void): Promise<void> {
  for (let files = await batch(); files > 0; files = await batch()) tell(files);
}

/** After much has changed, readers should not have to wait for autovacuum to plan well; after little, its statistics still hold. */
function needsStatistics({ added, changed, gone, moved, filesListed }: ScanRow): boolean {
  return added + changed + gone + moved > filesListed / 10n + 1000n;
}

/** Ends a RUNNING scan as ABANDONED. What it committed stays, moved files included. Safe to repeat. */
export async function abortScan(connections: IngestConnections, tenantId: string, scanId: bigint): Promise<ScanRow> {
  const step = <T>(work: Step<T>) => inStep(connections, tenantId, scanId, work);
  while ((await step(async (client, scan) => (scan.status === "RUNNING" ? matchMoves(client, tenantId, scan, false) : 0))) > 0);
  return step(async (client, scan) => {
    if (scan.status === "ABANDONED") return scan;
    if (scan.status !== "RUNNING") throw scanClosed(scanId, scan.status);
    await client.query("UPDATE scan SET status = 'ABANDONED', finished_utc = now() WHERE tenant_id = $1 AND scan_id = $2", [
      tenantId,
      scanId,
    ]);
    return readScan(client, tenantId, scanId);
  });
}

/** What a step needs: a connection with staging tables, or one as audit events have, whose statements may be sent ahead. */
type Needs = "staging" | "audit";

/** One transaction: no segment of the share is in flight, and the scan's row is ours. */
function inStep<T>(connections: IngestConnections, tenantId: string, scanId: bigint, work: Step<T>, needs: Needs = "staging"): Promise<T> {
  const locked = async (client: PoolClient) => {
    const { shareId } = await readScan(client, tenantId, scanId);
    await lockShare(client, shareId, "exclusive");
    return work(client, await readScan(client, tenantId, scanId, "FOR UPDATE OF s"));
  };
  return transact(connections, tenantId, locked, needs);
}

async function transact<T>(
  connections: IngestConnections,
  tenantId: string,
  work: (client: PoolClient) => Promise<T>,
  needs: Needs = "staging",
): Promise<T> {
  const client = await (needs === "audit" ? connections.acquireForAudit(tenantId) : connections.acquire(tenantId));
  let broken = true;
  try {
    await client.query(beginFor(tenantId));
    const result = await work(client);
    await client.query("COMMIT");
    broken = false;
    return result;
  } catch (error) {
    throw toDomainError(error);
  } finally {
    connections.release(client, broken);
  }
}

/** Another call may have finished or aborted the scan between two steps: then there is nothing left to do. */
function runningOnly<T>(work: Step<T>): Step<T | 0> {
  return async (client, scan) => (scan.status === "RUNNING" ? work(client, scan) : 0);
}

async function closeToChunks(client: PoolClient, tenantId: string, scan: ScanRow, chunks: Record<string, bigint>): Promise<void> {
  const { rows } = await client.query<{ writer: string; next_chunk_no: bigint }>(
    "SELECT writer, next_chunk_no FROM scan_writer WHERE tenant_id = $1 AND scan_id = $2",
    [tenantId, scan.scanId],
  );
  const committed = new Map(rows.map((row) => [row.writer, row.next_chunk_no]));
  for (const writer of new Set([...committed.keys(), ...Object.keys(chunks)])) {
    const sent = chunks[writer] ?? 0n;
    const stored = committed.get(writer) ?? 0n;
    if (sent === stored) continue;
    throw new DomainError(
      "FAILED_PRECONDITION",
      `Writer ${JSON.stringify(writer)} says it sent ${sent} chunks; ${stored} are committed. Send the rest, then finish again.`,
      { reason: "COUNT_MISMATCH", metadata: { writer, sent: String(sent), committed: String(stored) } },
    );
  }
  await client.query("UPDATE scan SET finishing_utc = coalesce(finishing_utc, now()) WHERE tenant_id = $1 AND scan_id = $2", [
    tenantId,
    scan.scanId,
  ]);
}

/** A batch of moved files; returns how many. `withVanished`: also out of directories that the scan did not see. */
async function matchMoves(client: PoolClient, tenantId: string, scan: ScanRow, withVanished: boolean): Promise<number> {
  if (withVanished && scan.mode === "FULL") await stageVanished(client, tenantId, scan);
  if (!(await anyLeft(client, tenantId, scan))) return 0;
  const moves: Moves = await pairMoved(client, tenantId, scan, finishBatchFiles);
  if (moves.files === 0) return 0;
  await adoptMoves(client, tenantId, scan);
  await client.query("UPDATE scan SET moved = moved + $3, added = added - $3, gone = gone - $4 WHERE tenant_id = $1 AND scan_id = $2", [
    tenantId,
    scan.scanId,
    moves.files,
    moves.counted,
  ]);
  return moves.files;
}

/** The error to end with when more files would be missing than allowed; its figures are kept. */
async function applyBrake(client: PoolClient, tenantId: string, scan: ScanRow): Promise<BrakeHolds | undefined> {
  if (scan.mode !== "FULL" || scan.brakeConfirmedUtc !== null) return undefined;
  await stageVanished(client, tenantId, scan);
  const wanted = scan.gone + (await countLiveInVanished(client, tenantId));
  if (wanted === scan.gone || isWithinLimit(scan, wanted)) return undefined;
  const limit = await fixLimit(client, tenantId, scan.scanId, { added: 0n, gone: 0n });
  if (wanted <= limit) return undefined;
  await client.query("UPDATE scan SET brake_wanted = $3 WHERE tenant_id = $1 AND scan_id = $2", [tenantId, scan.scanId, wanted]);
  return new BrakeHolds(scan.scanId, wanted, limit);
}

async function vanishBatch(client: PoolClient, tenantId: string, scan: ScanRow): Promise<number> {
  if (scan.mode !== "FULL") return 0;
  await stageVanished(client, tenantId, scan);
  const missing = await markBatchMissing(client, tenantId, scan, finishBatchFiles);
  if (missing === 0) await markVanishedDirectories(client, tenantId, scan);
  else await client.query("UPDATE scan SET gone = gone + $3 WHERE tenant_id = $1 AND scan_id = $2", [tenantId, scan.scanId, missing]);
  return missing;
}

async function reconcileBatch(client: PoolClient, tenantId: string, scan: ScanRow): Promise<number> {
  return scan.mode === "FULL" ? reconcileLeft(client, tenantId, scan, finishBatchDirs) : 0;
}

/** Accesses of files that no scan had seen when they were read. Where the next batch begins. */
async function settleBatch(step: <T>(work: Step<T>) => Promise<T>, tenantId: string, after: WaitingKey): Promise<WaitingKey | undefined> {
  const next = await step(
    runningOnly(async (client, scan) => settlePage(client, await readShare(client, tenantId, scan), after, finishBatchFiles)),
  );
  return next === 0 ? undefined : next;
}

async function readShare(client: PoolClient, tenantId: string, { shareId }: ScanRow): Promise<ShareRef> {
  const { rows } = await client.query<Pick<ShareRef, "srcType" | "caseSensitive">>(
    `SELECT src_type AS "srcType", case_sensitive AS "caseSensitive" FROM share WHERE tenant_id = $1 AND share_id = $2`,
    [tenantId, shareId],
  );
  return { tenantId, shareId, ...(rows[0] as Pick<ShareRef, "srcType" | "caseSensitive">) };
}

async function close(client: PoolClient, tenantId: string, scan: ScanRow): Promise<ScanRow> {
  if (scan.status === "RUNNING") {
    const status = scan.refused + scan.unreadable > 0n ? "WARN" : "OK";
    await client.query("UPDATE scan SET status = $3, finished_utc = now() WHERE tenant_id = $1 AND scan_id = $2", [
      tenantId,
      scan.scanId,
      status,
    ]);
    if (scan.mode === "FULL") {
      await client.query(
        "UPDATE share SET last_complete_scan_id = $3, last_complete_utc = now(), updated_utc = now() WHERE tenant_id = $1 AND share_id = $2",
        [tenantId, scan.shareId, scan.scanId],
      );
    }
  }
  return readScan(client, tenantId, scan.scanId);
}
