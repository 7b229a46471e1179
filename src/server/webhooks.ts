/** Puts together what stores secrets and sends webhooks, as the settings say. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { Pool } from "pg";
import type { Config } from "../config.js";
import type { Logger } from "../log.js";
import type { Metrics } from "../metrics/metrics.js";
import { addWebhookMetrics } from "../metrics/webhook-metrics.js";
import { DataKeys } from "../secrets/data-keys.js";
import type { Kms } from "../secrets/kms.js";
import { assertMasterKeys, ensureMasterKeys, LocalKms } from "../secrets/local-kms.js";
import type { WarmingFeed } from "../warming/feed.js";
import { createWebhooks, type Webhooks } from "../webhooks/webhooks.js";

export interface WebhookParts {
  config: Config;
  /** An embedded database gets a master key by itself. */
  embedded: boolean;
  pool: Pool;
  feed: WarmingFeed;
  metrics: Metrics;
  log: Logger;
}

/** Throws an Error that says what to do when a file that a setting names cannot be used. */
export async function openWebhooks({ config, embedded, pool, feed, metrics, log }: WebhookParts): Promise<Webhooks> {
  const { allowPrivate, caFile, retrySeconds } = config.webhooks;
  const keys = new DataKeys(await openKms(config, embedded));
  const ca = caFile === undefined ? undefined : await readCa(caFile);
  const onAttempt = addWebhookMetrics(metrics, pool, log);
  return createWebhooks({ pool, keys, feed, log, allowPrivate, ca, waits: retrySeconds, onAttempt });
}

/** Another KMS than a file is chosen here. */
async function openKms({ masterKeyFile, dataDir }: Config, embedded: boolean): Promise<Kms | undefined> {
  const file = masterKeyFile ?? (embedded ? path.join(dataDir, "master.key") : undefined);
  if (file === undefined) return undefined;
  if (masterKeyFile === undefined) await ensureMasterKeys(file);
  await assertMasterKeys(file);
  return new LocalKms(file);
}

async function readCa(file: string): Promise<string> {
  const pem = await fs.readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new Error(`FROSTLINE_WEBHOOK_CA: ${error.message}`);
  });
  if (!pem.includes("-----BEGIN CERTIFICATE-----")) throw new Error(`FROSTLINE_WEBHOOK_CA: ${file} is not a PEM file of certificates.`);
  return pem;
}
