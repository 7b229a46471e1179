/** One PushAudit stream: batches in, applied in their order; what arrives meanwhile goes into the next transaction together. */
import type { Pool } from "pg";
import { sqlState, toDomainError } from "../../db/errors.js";
import type { DirIds } from "../../db/id-blocks.js";
import { beginFor, inTenant } from "../../db/tenant.js";
import { DomainError } from "../../errors.js";
import { requireShare } from "../../tenancy/shares.js";
import type { IngestConnections } from "../connections.js";
import { resolveDirectories } from "../directories.js";
import { Failure } from "../failure.js";
import { auditCharactersInTransaction, auditEventsInTransaction, auditRetries } from "../limits.js";
import { type AuditTarget, applyBatches, type Batch, missingScan } from "./apply-batches.js";
import { type Counter, type Counts, newCounts } from "./counts.js";
import type { DirectoryCache } from "./directory-cache.js";

export interface AuditContext {
  pool: Pool;
  connections: IngestConnections;
  dirIds: DirIds;
  /** Whether data fetched ahead of a read counts as an access. */
  prefetchIsAccess: boolean;
  directories: DirectoryCache;
  drainSignal: AbortSignal;
}

export type AuditMessage = { open: { shareName: string; volumeId: string } } | { batch: Batch };

/** Runs a stream to its end and resolves once all of it is committed. Errors: see the proto. */
export async function pushAudit(context: AuditContext, tenantId: string, messages: AsyncIterable<AuditMessage>): Promise<Counts> {
  const iterator = messages[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done || !("open" in first.value)) {
    throw new DomainError("INVALID_ARGUMENT", "The first message of a PushAudit stream is `open`; this stream began without.", {
      reason: "OPEN_MISSING",
    });
  }
  const target = await openTarget(context, tenantId, first.value.open);
  const failure = new Failure();
  const drain = () => failure.fail(draining());
  context.drainSignal.addEventListener("abort", drain);
  const counts = newCounts();
  let gathered: Batch[] = [];
  let working: Promise<void> = Promise.resolve();
  let idle = true;
  /** Starts a transaction with what has gathered, when none is under way. */
  const begin = () => {
    if (!idle || gathered.length === 0) return;
    const batches = gathered;
    gathered = [];
    idle = false;
    working = commit(context, target, batches).then(
      (added) => {
        for (const name of Object.keys(added) as Counter[]) counts[name] += added[name];
        idle = true;
        begin();
      },
      (error) => failure.fail(error),
    );
  };
  const isFull = () =>
    gathered.reduce((sum, batch) => sum + batch.events.length, 0) >= auditEventsInTransaction ||
    gathered.reduce((sum, batch) => sum + batch.characters, 0) >= auditCharactersInTransaction;
  try {
    if (context.drainSignal.aborted) throw draining();
    for (;;) {
      const next = await failure.unlessFailed(iterator.next());
      if (next.done) break;
      if (!("batch" in next.value)) {
        throw new DomainError("INVALID_ARGUMENT", "After `open`, every message of a PushAudit stream is a `batch`.", {
          reason: "BATCH_MISSING",
        });
      }
      gathered.push(next.value.batch);
      begin();
      while (isFull()) await failure.unlessFailed(working);
    }
    while (!idle) await failure.unlessFailed(working);
    return counts;
  } finally {
    context.drainSignal.removeEventListener("abort", drain);
    // After an error nothing more is begun; what is under way comes to its end.
    gathered = [];
    await working;
  }
}

async function openTarget(context: AuditContext, tenantId: string, open: { shareName: string; volumeId: string }): Promise<AuditTarget> {
  const row = await inTenant(context.pool, tenantId, async (client) => {
    const share = await requireShare(client, tenantId, open.shareName);
    // Of lines that can't be read, none names the volume: then it is the one that the share has.
    if (open.volumeId === "" && share.volume_id !== null) return share;
    if (open.volumeId === "")
      throw new DomainError("INVALID_ARGUMENT", "open.volume_id is empty; it names the volume that the trail is of.", {
        reason: "INVALID_FIELD",
        metadata: { field: "volume_id" },
      });
    // Found out before the share takes the volume for its own.
    await missingScan(client, { tenantId, shareId: share.share_id });
    if (share.volume_id === null) {
      await client
        .query("UPDATE share SET volume_id = $3, updated_utc = now() WHERE tenant_id = $1 AND share_id = $2", [
          tenantId,
          share.share_id,
          open.volumeId,
        ])
        .catch((error) => {
          throw sqlState(error) === "23505" ? volumeTaken(open.volumeId) : error;
        });
    } else if (share.volume_id !== open.volumeId) {
      throw new DomainError(
        "FAILED_PRECONDITION",
        `Share ${JSON.stringify(open.shareName)} is volume ${share.volume_id}, the trail is of volume ${open.volumeId}. Name the share that the trail belongs to.`,
        { reason: "OTHER_VOLUME", metadata: { volume_id: share.volume_id } },
      );
    }
    return share;
  });
  const share = { tenantId, shareId: row.share_id, srcType: row.src_type, caseSensitive: row.case_sensitive };
  return {
    share,
    volumeId: row.volume_id ?? open.volumeId,
    prefetchIsAccess: context.prefetchIsAccess,
    directories: context.directories,
    make: (paths) => resolveDirectories(context.pool, context.dirIds, share, paths),
  };
}

function volumeTaken(volumeId: string): DomainError {
  return new DomainError("FAILED_PRECONDITION", `Volume ${volumeId} is another share's. Name the share that the trail belongs to.`, {
    reason: "OTHER_VOLUME",
    metadata: { volume_id: volumeId },
  });
}

/** A deadlock, or a scan that made the same directory at the same moment, loses nothing: the transaction runs again. */
async function commit(context: AuditContext, target: AuditTarget, batches: Batch[]): Promise<Counts> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await transact(context, target, batches);
    } catch (error) {
      if (attempt < auditRetries && ["40P01", "40001", "55P03"].includes(sqlState(error) ?? "")) continue;
      throw toDomainError(error);
    }
  }
}

async function transact({ connections }: AuditContext, target: AuditTarget, batches: Batch[]): Promise<Counts> {
  const client = await connections.acquire();
  const counts = newCounts();
  let broken = true;
  try {
    await client.query(beginFor(target.share.tenantId));
    await applyBatches(client, target, batches, counts);
    await client.query("COMMIT");
    broken = false;
    return counts;
  } finally {
    connections.release(client, broken);
  }
}

function draining(): DomainError {
  return new DomainError("UNAVAILABLE", "The server is stopping. Go on with another one, or with this one in a moment.", {
    reason: "SERVER_DRAINING",
    retryDelayMs: 500,
  });
}
