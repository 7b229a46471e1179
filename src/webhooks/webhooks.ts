/** What a server has of webhooks, in one piece: for the calls that manage them, and beside them what sends. */
import type { Pool } from "pg";
import type { Logger } from "../log.js";
import type { DataKeys } from "../secrets/data-keys.js";
import type { WarmingFeed } from "../warming/feed.js";
import { addressPolicy } from "./addresses.js";
import type { SendDeps } from "./attempt.js";
import { type DispatcherOptions, WebhookDispatcher } from "./dispatcher.js";
import { Lookups } from "./lookups.js";
import type { WebhookDeps } from "./manage.js";
import type { Waits } from "./record.js";

export interface WebhookOptions extends Pick<DispatcherOptions, "onAttempt"> {
  pool: Pool;
  keys: DataKeys;
  feed: WarmingFeed;
  log: Logger;
  /** Ranges in CIDR notation; see addressPolicy. */
  allowPrivate: readonly string[];
  /** PEM. */
  ca: string | undefined;
  waits: Waits;
}

export interface Webhooks extends WebhookDeps, SendDeps {
  dispatcher: WebhookDispatcher;
}

/** Sends nothing before its dispatcher runs. */
export function createWebhooks({ pool, keys, feed, log, allowPrivate, ca, waits, onAttempt }: WebhookOptions): Webhooks {
  const policy = addressPolicy(allowPrivate);
  const send = { pool, keys, post: { policy, ca }, lookups: new Lookups() };
  return { ...send, policy, dispatcher: new WebhookDispatcher({ ...send, feed, log, waits, onAttempt }) };
}
