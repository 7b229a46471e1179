/**
 * Erasing a share, a tenant, or a person's name. What is asked for is recorded first, and what is erased is out of reach from then on; the
 * rows go in batches, each a transaction, at once as far as time allows, the rest with the background jobs. So one that breaks off goes on.
 * In the end the record says who had it erased and when, and not its name.
 */
import { lockShare } from "../ingest/locks.js";
import { allowLongStatements, step, type Worker } from "./step.js";

/** Rows of a transaction. */
const batchRows = 10_000;
const batchPages = 512;
const batchPositions = 50_000n;

interface Pending {
  erasure_id: bigint;
  kind: "SHARE" | "TENANT" | "PERSON";
  share_id: bigint | null;
  erased_tenant_id: string | null;
  pending_name: string | null;
}

/** Goes on with what the tenant has asked for, the oldest first; between two batches an abort of the worker's signal ends it. Returns how many are done. */
export async function continueErasures(worker: Worker): Promise<number> {
  const { client, tenantId, signal } = worker;
  const { rows } = await step(worker, () =>
    client.query<Pending>(
      `SELECT erasure_id, kind, share_id, erased_tenant_id, pending_name FROM erasure WHERE tenant_id = $1 AND finished_utc IS NULL ORDER BY erasure_id`,
      [tenantId],
    ),
  );
  let finished = 0;
  for (const erasure of rows) {
    if (signal.aborted || !(await erase(worker, erasure))) break;
    await finish(worker, erasure);
    finished += 1;
  }
  return finished;
}

async function erase(worker: Worker, { erasure_id: erasureId, kind, ...what }: Pending): Promise<boolean> {
  switch (kind) {
    case "SHARE":
      return eraseShareRows(worker, erasureId, what.share_id as bigint);
    case "TENANT":
      return eraseTenantRows(worker, what.erased_tenant_id as string);
    case "PERSON":
      return erasePersonRows(worker, erasureId, what.pending_name as string);
  }
}

async function finish(worker: Worker, { erasure_id: erasureId }: Pending): Promise<void> {
  await step(worker, () =>
    worker.client.query(
      "UPDATE erasure SET finished_utc = now(), pending_name = NULL WHERE tenant_id = $1 AND erasure_id = $2 AND finished_utc IS NULL",
      [worker.tenantId, erasureId],
    ),
  );
}

/** Segments and audit batches that are under way come before a batch or after it, and in the end find no scan. */
async function eraseShareRows(worker: Worker, erasureId: bigint | undefined, shareId: bigint): Promise<boolean> {
  const { client, tenantId, signal } = worker;
  while (!signal.aborted) {
    const erased = await step(worker, async () => {
      await lockShare(client, shareId, "exclusive");
      // The last batch looks through the whole audit log for what names no file any more.
      await client.query(allowLongStatements);
      const { rows } = await client.query<{ erased: bigint }>("SELECT erase_share_rows($1, $2, $3) AS erased", [
        tenantId,
        shareId,
        batchRows,
      ]);
      const count = rows[0]?.erased ?? 0n;
      if (erasureId !== undefined) await countErased(worker, erasureId, count);
      return count;
    });
    if (erased === 0n) return true;
  }
  return false;
}

/** As that tenant: its shares, then the rest, then itself. */
async function eraseTenantRows({ client, signal }: Worker, tenantId: string): Promise<boolean> {
  const worker = { client, tenantId, signal };
  // Until there is none: a call that was let in before its key was revoked may make one meanwhile.
  for (;;) {
    const { rows } = await step(worker, () =>
      client.query<{ share_id: bigint }>(
        "UPDATE share SET erasing_utc = coalesce(erasing_utc, now()) WHERE tenant_id = $1 RETURNING share_id",
        [tenantId],
      ),
    );
    if (rows.length === 0) break;
    for (const { share_id: shareId } of rows) if (!(await eraseShareRows(worker, undefined, shareId))) return false;
  }
  await step(worker, async () => {
    await client.query(allowLongStatements);
    await client.query("SELECT erase_tenant_rows($1)", [tenantId]);
  });
  return true;
}

/** From the beginning after a break: rows that are done have the name no more. */
async function erasePersonRows(worker: Worker, erasureId: bigint, name: string): Promise<boolean> {
  const { client, tenantId, signal } = worker;
  const batch = (text: string, values: unknown[]) =>
    step(worker, async () => {
      const { rows } = await client.query<{ erased: bigint | null }>(text, values);
      await countErased(worker, erasureId, rows[0]?.erased ?? 0n);
      return rows[0]?.erased ?? undefined;
    });
  const last = await step(worker, () =>
    client.query<{ last_position: bigint }>("SELECT last_position FROM warming_position WHERE tenant_id = $1", [tenantId]),
  );
  for (let from = 0n; from <= (last.rows[0]?.last_position ?? 0n); from += batchPositions) {
    if (signal.aborted) return false;
    await batch("SELECT erase_person_in_warming($1, $2, $3, $4) AS erased", [tenantId, name, from, from + batchPositions - 1n]);
  }
  for (let page = 0; !signal.aborted; page += batchPages) {
    const values = [tenantId, name, page, batchPages];
    if ((await batch("SELECT erase_person_in_audit_log($1, $2, $3, $4) AS erased", values)) === undefined) return true;
  }
  return false;
}

async function countErased({ client, tenantId }: Worker, erasureId: bigint, rows: bigint): Promise<void> {
  await client.query("UPDATE erasure SET rows_erased = rows_erased + $3 WHERE tenant_id = $1 AND erasure_id = $2", [
    tenantId,
    erasureId,
    rows,
  ]);
}
