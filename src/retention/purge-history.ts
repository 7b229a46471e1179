/**
 * History that is not kept any more. First the scans are marked, so that nobody begins to read them; then versions go that no kept
 * scan needs: of each name those that a newer one at or before the oldest kept scan supersedes, and that one if it is REMOVED.
 *
 * Only names that have a version since the last purge can have any to lose. They are found through the BRIN index of scans, once for
 * a purge, and kept in a holdable cursor, which PostgreSQL puts down on disk; so no transaction is longer than a batch. A purge
 * that breaks off begins again with the same names, and finds the rest.
 */
import { textArray } from "../db/array-literals.js";
import { beginJob, countRemoved } from "./jobs.js";
import { allowLongStatements, step, type Worker } from "./step.js";

/** Names of a transaction. */
const batchNames = 5000;

interface Share {
  share_id: bigint;
  keep_scans: number | null;
  keep_days: number | null;
  purged_to: bigint | null;
}

interface Name {
  dir_id: bigint;
  name: string;
}

/** Purges every share of the tenant as its policy, or the tenant's, says; nothing where there is neither. Returns the versions deleted. */
export async function purgeHistory(worker: Worker, namesAtOnce = batchNames): Promise<bigint> {
  const { client, tenantId, signal } = worker;
  const shares = await step(worker, async () => {
    await beginJob(client, tenantId, "history");
    const { rows } = await client.query<Share>(
      `SELECT s.share_id, p.keep_scans, p.keep_days, s.history_purged_to_scan_id AS purged_to FROM share s
       JOIN LATERAL (
         SELECT keep_scans, keep_days FROM retention_policy WHERE tenant_id = $1 AND (share_id = s.share_id OR share_id IS NULL) ORDER BY share_id NULLS LAST LIMIT 1
       ) p ON true
       WHERE s.tenant_id = $1 AND s.erasing_utc IS NULL ORDER BY s.share_id`,
      [tenantId],
    );
    return rows;
  });
  let purged = 0n;
  for (const share of shares) if (!signal.aborted) purged += await purgeShare(worker, share, namesAtOnce);
  return purged;
}

async function purgeShare(worker: Worker, share: Share, namesAtOnce: number): Promise<bigint> {
  const { client, tenantId, signal } = worker;
  const oldest = await step(worker, () => markScans(worker, share));
  if (oldest === undefined || oldest <= (share.purged_to ?? 0n)) return 0n;
  await step(worker, () => findNames(worker, share, oldest));
  let purged = 0n;
  let done = false;
  while (!done && !signal.aborted) {
    const { rows } = await client.query<Name>(`FETCH ${namesAtOnce} FROM purgeable`);
    done = rows.length === 0;
    if (!done) purged += await step(worker, () => purgeNames(worker, share, oldest, rows));
  }
  await client.query("CLOSE purgeable");
  if (!done) return purged;
  await step(worker, () =>
    client.query("UPDATE share SET history_purged_to_scan_id = $3 WHERE tenant_id = $1 AND share_id = $2", [
      tenantId,
      share.share_id,
      oldest,
    ]),
  );
  return purged;
}

async function purgeNames({ client, tenantId }: Worker, share: Share, oldest: bigint, names: Name[]): Promise<bigint> {
  const { rows } = await client.query<{ purged: bigint }>("SELECT purge_versions($1, $2, $3, $4::bigint[], $5::text[]) AS purged", [
    tenantId,
    share.share_id,
    oldest,
    names.map((name) => name.dir_id),
    textArray(names.map(({ name }) => name)),
  ]);
  const purged = rows[0]?.purged ?? 0n;
  await countRemoved(client, tenantId, "history", purged);
  return purged;
}

/**
 * Marks the scans that are not kept and returns the oldest that is: of those that ended OK or WARN, the last so many and the ones that
 * ended within so many days, and the newest in any case. Undefined where none has ended so. What was marked stays marked.
 */
async function markScans({ client, tenantId }: Worker, share: Share): Promise<bigint | undefined> {
  const { rows } = await client.query<{ oldest: bigint | null }>(
    `SELECT min(scan_id) AS oldest FROM (
       SELECT scan_id, finished_utc, row_number() OVER (ORDER BY scan_id DESC) AS nth FROM scan
       WHERE tenant_id = $1 AND share_id = $2 AND status IN ('OK', 'WARN') AND history_purged_utc IS NULL
     ) ended
     WHERE nth <= greatest(coalesce($3::integer, 1), 1) OR finished_utc > now() - make_interval(days => coalesce($4::integer, 0))`,
    [tenantId, share.share_id, share.keep_scans, share.keep_days],
  );
  const oldest = rows[0]?.oldest ?? undefined;
  if (oldest === undefined) return undefined;
  await client.query(
    `UPDATE scan SET history_purged_utc = now() WHERE tenant_id = $1 AND share_id = $2 AND scan_id < $3 AND history_purged_utc IS NULL AND status <> 'RUNNING'`,
    [tenantId, share.share_id, oldest],
  );
  return oldest;
}

/** An ADDED version seldom has an older one, most of a first scan have none: they are looked up, the others are taken as they come. */
async function findNames({ client, tenantId }: Worker, share: Share, oldest: bigint): Promise<void> {
  // The cursor is filled at the commit, which may take longer than a statement is given.
  await client.query(allowLongStatements);
  await client.query(
    `DECLARE purgeable NO SCROLL CURSOR WITH HOLD FOR
     SELECT v.dir_id, v.name FROM file v
     WHERE v.tenant_id = $1 AND v.share_id = $2 AND v.scan_id > $3 AND v.scan_id <= $4 AND (v.change <> 'A' OR EXISTS (
       SELECT FROM file o WHERE o.tenant_id = $1 AND o.share_id = $2 AND o.dir_id = v.dir_id AND o.name = v.name AND o.scan_id < v.scan_id))`,
    [tenantId, share.share_id, share.purged_to ?? 0n, oldest],
  );
}
