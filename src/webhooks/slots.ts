/** How many requests of a server are under way: in all, of a tenant, of a webhook. So a receiver that hangs holds its own places only. */
import { requestsAtMost, requestsOfTenantAtMost, requestsOfWebhookAtMost } from "./limits.js";

export class Slots {
  #all = 0;
  readonly #ofTenant = new Map<string, Map<string, number>>();

  /** How many more of the tenant's may begin. */
  free(tenantId: string): number {
    let used = 0;
    for (const requests of this.busy(tenantId).values()) used += requests;
    return Math.min(requestsAtMost - this.#all, requestsOfTenantAtMost - used);
  }

  /** By webhook. */
  busy(tenantId: string): ReadonlyMap<string, number> {
    return this.#ofTenant.get(tenantId) ?? new Map();
  }

  /** False when there is none; otherwise give it back. */
  take(tenantId: string, webhookId: string): boolean {
    const used = this.busy(tenantId).get(webhookId) ?? 0;
    if (this.free(tenantId) <= 0 || used >= requestsOfWebhookAtMost) return false;
    const ofTenant = this.#ofTenant.get(tenantId) ?? new Map<string, number>();
    this.#ofTenant.set(tenantId, ofTenant.set(webhookId, used + 1));
    this.#all += 1;
    return true;
  }

  give(tenantId: string, webhookId: string): void {
    const ofTenant = this.#ofTenant.get(tenantId);
    const used = ofTenant?.get(webhookId);
    if (ofTenant === undefined || used === undefined) throw new Error("a place was given back that nobody has");
    if (used > 1) ofTenant.set(webhookId, used - 1);
    else ofTenant.delete(webhookId);
    if (ofTenant.size === 0) this.#ofTenant.delete(tenantId);
    this.#all -= 1;
  }
}
