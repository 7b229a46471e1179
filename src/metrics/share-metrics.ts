/** Figures of shares and volumes, read out of the database when they are scraped: they are the same on every server. */
import type { Pool, PoolClient } from "pg";
import { Gauge } from "prom-client";
import { readTenant } from "../db/tenant.js";
import type { Logger } from "../log.js";
import { listTenants } from "../tenancy/tenants.js";
import type { Metrics } from "./metrics.js";

/** Several scrapers, or one that is impatient, cost the database one look. */
const freshMs = 15_000;
/** Looks take at most a tenth of the time, however many volumes there are. */
const freshByDuration = 10;
/** Of a tenant. Beyond it the figures are of the first ones by name: a time series each is what a scrape can bear. */
const sharesAtMost = 1000;
/** Of a volume; those read last. One for each node is written to. */
const cursorsAtMost = 100;

interface ShareRow {
  share_name: string;
  /** Null: no complete scan yet. */
  age_seconds: number | null;
  files: number | null;
  refused: number | null;
}

interface SumRow {
  shares: number;
  /** Of all shares; one without a complete scan counts from when it was made. Null: there is none. */
  oldest_seconds: number | null;
}

interface VolumeRow {
  volume_id: string;
  idle_seconds: number;
  /** Of the cursors that moved last. */
  event_ids: string[];
}

interface Gauges {
  age: Gauge<"tenant" | "share">;
  files: Gauge<"tenant" | "share">;
  refused: Gauge<"tenant" | "share">;
  shares: Gauge<"tenant">;
  oldest: Gauge<"tenant">;
  idle: Gauge<"tenant" | "volume">;
  lag: Gauge<"tenant" | "volume">;
}

/** Registers the gauges, and has them read before each scrape. */
export function addShareMetrics(metrics: Metrics, pool: Pool, log: Logger): void {
  const gauges = createGauges(metrics);
  let staleMs = Number.NEGATIVE_INFINITY;
  metrics.beforeScrape(async () => {
    const startMs = performance.now();
    if (startMs < staleMs) return;
    // Set before the look: scrapes that come meanwhile do not look, too.
    staleMs = startMs + freshMs;
    for (const gauge of Object.values(gauges)) gauge.reset();
    try {
      for (const { tenant_id, code } of await listTenants(pool)) {
        fill(gauges, code, await readTenant(pool, tenant_id, (client) => read(client, tenant_id)));
      }
    } catch (error) {
      // A scrape while the database is down must still tell that it is.
      metrics.readFailures.inc();
      log.warn({ err: error }, "metrics of shares could not be read");
    }
    const endMs = performance.now();
    staleMs = endMs + Math.max(freshMs, (endMs - startMs) * freshByDuration);
  });
}

function createGauges({ registry }: Metrics): Gauges {
  const registers = [registry];
  const share = { labelNames: ["tenant", "share"] as const, registers };
  const tenant = { labelNames: ["tenant"] as const, registers };
  const volume = { labelNames: ["tenant", "volume"] as const, registers };
  return {
    age: new Gauge({
      name: "frostline_share_complete_scan_age_seconds",
      help: "Age of the share's last complete scan; absent before the first.",
      ...share,
    }),
    files: new Gauge({ name: "frostline_share_scanned_files", help: "Files in the share's last complete scan.", ...share }),
    refused: new Gauge({
      name: "frostline_share_refused_records",
      help: "Records that the share's last complete scan refused.",
      ...share,
    }),
    shares: new Gauge({ name: "frostline_tenant_shares", help: "The tenant's shares.", ...tenant }),
    oldest: new Gauge({
      name: "frostline_tenant_oldest_scan_age_seconds",
      help: "The greatest age of a last complete scan among all shares; of a share that has none, its own age.",
      ...tenant,
    }),
    idle: new Gauge({
      name: "frostline_audit_idle_seconds",
      help: "Time since an audit event of the volume was last taken in: the lag of its cursors when it is in use.",
      ...volume,
    }),
    lag: new Gauge({
      name: "frostline_audit_event_age_seconds",
      help: "Age of the newest audit event of the volume that was taken in.",
      ...volume,
    }),
  };
}

interface Figures {
  shares: ShareRow[];
  sum: SumRow;
  volumes: VolumeRow[];
}

function fill(gauges: Gauges, tenant: string, { shares, sum, volumes }: Figures): void {
  for (const row of shares) {
    const labels = { tenant, share: row.share_name };
    if (row.age_seconds !== null) gauges.age.set(labels, row.age_seconds);
    if (row.files !== null) gauges.files.set(labels, row.files);
    if (row.refused !== null) gauges.refused.set(labels, row.refused);
  }
  gauges.shares.set({ tenant }, sum.shares);
  if (sum.oldest_seconds !== null) gauges.oldest.set({ tenant }, sum.oldest_seconds);
  for (const row of volumes) {
    gauges.idle.set({ tenant, volume: row.volume_id }, row.idle_seconds);
    const newest = Math.max(...row.event_ids.map(eventUnixSeconds));
    if (Number.isFinite(newest)) gauges.lag.set({ tenant, volume: row.volume_id }, Date.now() / 1000 - newest);
  }
}

/** An event's id ends in its time: docs/schema.md. */
function eventUnixSeconds(eventId: string): number {
  return Number.parseInt(eventId.slice(eventId.lastIndexOf(":") + 1), 36) / 1e6;
}

async function read(client: PoolClient, tenantId: string): Promise<Figures> {
  const shares = await client.query<ShareRow>(
    `SELECT h.share_name, extract(epoch FROM now() - h.last_complete_utc)::float8 AS age_seconds,
       s.files_listed::float8 AS files, s.refused::float8 AS refused
     FROM share h LEFT JOIN scan s ON s.tenant_id = h.tenant_id AND s.scan_id = h.last_complete_scan_id
     WHERE h.tenant_id = $1 AND h.erasing_utc IS NULL ORDER BY h.share_name LIMIT $2`,
    [tenantId, sharesAtMost],
  );
  const sum = await client.query<SumRow>(
    `SELECT count(*)::integer AS shares, extract(epoch FROM max(now() - coalesce(last_complete_utc, created_utc)))::float8 AS oldest_seconds
     FROM share WHERE tenant_id = $1 AND erasing_utc IS NULL`,
    [tenantId],
  );
  const volumes = await client.query<VolumeRow>(
    `SELECT volume_id, extract(epoch FROM now() - max(last_processed_utc))::float8 AS idle_seconds,
       coalesce((array_agg(last_event_id ORDER BY last_processed_utc DESC) FILTER (WHERE last_event_id IS NOT NULL))[1:$3], '{}') AS event_ids
     FROM lucid_audit_cursor WHERE tenant_id = $1 GROUP BY volume_id ORDER BY volume_id LIMIT $2`,
    [tenantId, sharesAtMost, cursorsAtMost],
  );
  return { shares: shares.rows, sum: sum.rows[0] as SumRow, volumes: volumes.rows };
}
