/** Figures of shares and volumes, read out of the database when they are scraped: they are the same on every server. */
import type { Pool, PoolClient } from "pg";
import { Gauge } from "prom-client";
import { readTenant } from "../db/tenant.js";
import type { Logger } from "../log.js";
import { listTenants } from "../tenancy/tenants.js";
import type { Metrics } from "./metrics.js";

/** Several scrapers, or one that is impatient, cost the database one look. */
const freshMs = 15_000;
/** Of a tenant. Beyond it the figures are of the first ones by name: a time series each is what a scrape can bear. */
const sharesAtMost = 1000;

interface ShareRow {
  share_name: string;
  /** Null: no complete scan yet. */
  age_seconds: number | null;
  files: number | null;
  refused: number | null;
}

interface VolumeRow {
  volume_id: string;
  idle_seconds: number;
}

/** Registers the gauges, and has them read before each scrape. */
export function addShareMetrics(metrics: Metrics, pool: Pool, log: Logger): void {
  const registers = [metrics.registry];
  const share = { labelNames: ["tenant", "share"] as const, registers };
  const files = new Gauge({ name: "frostline_share_scanned_files", help: "Files in the share's last complete scan.", ...share });
  const refused = new Gauge({
    name: "frostline_share_refused_records",
    help: "Records that the share's last complete scan refused.",
    ...share,
  });
  const idle = new Gauge({
    name: "frostline_audit_idle_seconds",
    help: "Time since an audit event of the volume was last taken in: the lag of its cursors when it is in use.",
    labelNames: ["tenant", "volume"] as const,
    registers,
  });
  const age = new Gauge({
    name: "frostline_share_complete_scan_age_seconds",
    help: "Age of the share's last complete scan; absent before the first.",
    ...share,
  });
  let readMs = Number.NEGATIVE_INFINITY;
  metrics.beforeScrape(async () => {
    if (performance.now() - readMs < freshMs) return;
    readMs = performance.now();
    for (const gauge of [age, files, refused, idle]) gauge.reset();
    try {
      for (const { tenant_id, code: tenant } of await listTenants(pool)) {
        const { shares, volumes } = await readTenant(pool, tenant_id, (client) => read(client, tenant_id));
        for (const row of shares) {
          const labels = { tenant, share: row.share_name };
          if (row.age_seconds !== null) age.set(labels, row.age_seconds);
          if (row.files !== null) files.set(labels, row.files);
          if (row.refused !== null) refused.set(labels, row.refused);
        }
        for (const row of volumes) idle.set({ tenant, volume: row.volume_id }, row.idle_seconds);
      }
    } catch (error) {
      // A scrape while the database is down must still tell that it is.
      metrics.readFailures.inc();
      log.warn({ err: error }, "metrics of shares could not be read");
    }
  });
}

async function read(client: PoolClient, tenantId: string): Promise<{ shares: ShareRow[]; volumes: VolumeRow[] }> {
  const shares = await client.query<ShareRow>(
    `SELECT h.share_name, extract(epoch FROM now() - h.last_complete_utc)::float8 AS age_seconds,
       s.files_listed::float8 AS files, s.refused::float8 AS refused
     FROM share h LEFT JOIN scan s ON s.tenant_id = h.tenant_id AND s.scan_id = h.last_complete_scan_id
     WHERE h.tenant_id = $1 ORDER BY h.share_name LIMIT $2`,
    [tenantId, sharesAtMost],
  );
  const volumes = await client.query<VolumeRow>(
    `SELECT volume_id, extract(epoch FROM now() - max(last_processed_utc))::float8 AS idle_seconds
     FROM lucid_audit_cursor WHERE tenant_id = $1 GROUP BY volume_id ORDER BY volume_id LIMIT $2`,
    [tenantId, sharesAtMost],
  );
  return { shares: shares.rows, volumes: volumes.rows };
}
