/**
 * Finds what is to be told and sends it, beside the calls that a server answers. Any number of servers do it together: what is found is found once, under
 * the webhook's row, and a delivery belongs for a while to who claimed it.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { ClientBase } from "pg";
import { toDomainError } from "../db/errors.js";
import { inTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import type { Logger } from "../log.js";
import type { WarmingFeed } from "../warming/feed.js";
import { type SendDeps, sendDelivery } from "./attempt.js";
import { type Claimed, claimDue } from "./claim.js";
import { findShareAlarms } from "./find-share-alarms.js";
import { findWarming } from "./find-warming.js";
import { type Outcome, postpone, recordResult, type Waits } from "./record.js";
import { Slots } from "./slots.js";

/** Between two looks at which deliveries are due. */
const lookMs = 1_000;
/** Between two looks at all tenants that have webhooks: their shares' alarms, and notifications that were lost. */
const sweepMs = 15_000;
/** After a failure that is not the receiver's. */
const postponeSeconds = 60;
/** Requests may go on for so long once the server stops. */
const graceMs = 3_000;

export interface DispatcherOptions extends SendDeps {
  feed: WarmingFeed;
  log: Logger;
  waits: Waits;
  /** Told of each attempt. */
  onAttempt(outcome: Outcome | "postponed"): void;
}

/** One of a server. */
export class WebhookDispatcher {
  readonly slots = new Slots();
  readonly #options: DispatcherOptions;
  /** Tenants that had webhooks at the last sweep, or have made one here since. */
  readonly #tenants = new Set<string>();
  /** Those with something new to be found, and those whose shares are to be looked at. */
  readonly #news = new Set<string>();
  readonly #shares = new Set<string>();
  readonly #attempts = new Set<Promise<void>>();
  readonly #cut = new AbortController();
  #sweptMs = Number.NEGATIVE_INFINITY;
  #saidDown = false;
  #wake: (() => void) | undefined;
  /** Somebody called while nobody waited. */
  #woken = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  /** Until `signal` aborts; then requests under way get a short time to end, and it resolves. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const unfollow = this.#options.feed.follow((tenantId) => this.#onPublished(tenantId));
    const onAbort = () => this.#wakeUp();
    signal.addEventListener("abort", onAbort, { once: true });
    while (!signal.aborted) {
      const failed = await this.#turn(signal).then(
        () => false,
        (error) => this.#failed(error),
      );
      if (!failed) this.#saidDown = false;
      await this.#pause(signal);
    }
    signal.removeEventListener("abort", onAbort);
    unfollow();
    await this.#stop();
  }

  /** A webhook of the tenant was made, enabled, or has a delivery that is due, or when its shares are stale was set: looks at once. */
  notice(tenantId: string): void {
    this.#tenants.add(tenantId);
    this.#news.add(tenantId);
    this.#shares.add(tenantId);
    this.#wakeUp();
  }

  #onPublished(tenantId: string): void {
    if (!this.#tenants.has(tenantId)) return;
    this.#news.add(tenantId);
    this.#wakeUp();
  }

  #wakeUp(): void {
    this.#woken = true;
    this.#wake?.();
  }

  /** Until somebody calls, or it is time to look. After a failure only the latter. */
  async #pause(signal: AbortSignal): Promise<void> {
    const timer = new AbortController();
    const stop = AbortSignal.any([signal, timer.signal]);
    const looks = delay(lookMs, undefined, { signal: stop }).catch(() => {});
    if (!this.#saidDown && !this.#woken && this.#news.size === 0) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await Promise.race([woken, looks]);
      this.#wake = undefined;
    } else if (this.#saidDown) await looks;
    timer.abort();
    this.#woken = false;
  }

  /** One tenant's failure keeps no other's turn from coming; throws the last one in the end. */
  async #turn(signal: AbortSignal): Promise<void> {
    const { pool } = this.#options;
    const failures: unknown[] = [];
    const each = async (tenantIds: string[], work: (tenantId: string) => Promise<void>) => {
      for (const tenantId of tenantIds) {
        if (!signal.aborted) await work(tenantId).catch((error) => failures.push(error));
      }
    };
    if (performance.now() - this.#sweptMs >= sweepMs) await this.#sweep();
    await each([...this.#shares], (tenantId) => this.#findOf(this.#shares, tenantId, findShareAlarms));
    await each([...this.#news], (tenantId) => this.#findOf(this.#news, tenantId, findWarming));
    const { rows } = await pool.query<{ tenant_id: string }>("SELECT tenant_id FROM webhook_tenants_due()");
    await each(
      rows.map(({ tenant_id: tenantId }) => tenantId),
      (tenantId) => this.#begin(tenantId),
    );
    if (failures.length > 0) throw failures.at(-1);
  }

  /** Returns true: it failed. */
  #failed(error: unknown): true {
    if (!this.#saidDown) {
      this.#options.log.warn({ err: toDomainError(error) }, "webhooks: what is to be told could not be found out; trying again");
    }
    this.#saidDown = true;
    return true;
  }

  /** Told of more meanwhile, or failed, or not done: it stays to be looked at. */
  async #findOf(set: Set<string>, tenantId: string, find: (client: ClientBase, tenantId: string) => Promise<boolean>): Promise<void> {
    set.delete(tenantId);
    const more = await inTenant(this.#options.pool, tenantId, (client) => find(client, tenantId)).catch((error) => {
      set.add(tenantId);
      throw error;
    });
    if (more) set.add(tenantId);
  }

  async #sweep(): Promise<void> {
    const { rows } = await this.#options.pool.query<{ tenant_id: string }>("SELECT tenant_id FROM webhook_tenants()");
    this.#sweptMs = performance.now();
    this.#tenants.clear();
    for (const { tenant_id: tenantId } of rows) for (const set of [this.#tenants, this.#news, this.#shares]) set.add(tenantId);
  }

  async #begin(tenantId: string): Promise<void> {
    const { pool } = this.#options;
    const free = this.slots.free(tenantId);
    if (free <= 0) return;
    const claimed = await inTenant(pool, tenantId, (client) => claimDue(client, tenantId, this.slots.busy(tenantId), free));
    for (const delivery of claimed) {
      if (!this.slots.take(tenantId, delivery.webhookId)) {
        // A test that began meanwhile has the place: the attempt does not count.
        await inTenant(pool, tenantId, (client) => postpone(client, tenantId, delivery, 1, "The webhook had no place for it yet."));
        continue;
      }
      const attempt = this.#attempt(tenantId, delivery).finally(() => {
        this.slots.give(tenantId, delivery.webhookId);
        this.#attempts.delete(attempt);
        this.#wakeUp();
      });
      this.#attempts.add(attempt);
    }
  }

  /** Never rejects. */
  async #attempt(tenantId: string, claimed: Claimed): Promise<void> {
    const { pool, log, waits, onAttempt } = this.#options;
    const { deliveryId, webhookId } = claimed;
    try {
      const result = await sendDelivery(this.#options, tenantId, deliveryId, this.#cut.signal);
      if ("error" in result && this.#cut.signal.aborted)
        throw new DomainError("UNAVAILABLE", "The server stopped.", { reason: "SERVER_STOPPING" });
      const outcome = await inTenant(pool, tenantId, (client) => recordResult(client, tenantId, claimed, result, waits));
      onAttempt(outcome);
      if (outcome === "dead")
        log.warn(
          { tenantId, webhookId, deliveryId, status: "status" in result ? result.status : undefined },
          "webhooks: a delivery was given up",
        );
    } catch (error) {
      onAttempt("postponed");
      const stopping = this.#cut.signal.aborted;
      if (!stopping)
        log.warn({ err: error, tenantId, webhookId, deliveryId }, "webhooks: a delivery could not be sent, for a reason on this side");
      const words = error instanceof DomainError ? error.message : "It could not be sent, for a reason on the server's side.";
      await inTenant(pool, tenantId, (client) => postpone(client, tenantId, claimed, stopping ? 0 : postponeSeconds, words)).catch(
        (failure) => {
          // Its lease brings it back.
          log.warn({ err: failure, tenantId, deliveryId }, "webhooks: what became of a delivery could not be recorded");
        },
      );
    }
  }

  async #stop(): Promise<void> {
    const timer = new AbortController();
    const all = Promise.all(this.#attempts);
    await Promise.race([all, delay(graceMs, undefined, { signal: timer.signal }).catch(() => {})]);
    timer.abort();
    this.#cut.abort();
    await all;
  }
}
