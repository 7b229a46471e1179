/** A job of each tenant: what fails for one does not keep it from the others. */
import type { ClientBase } from "pg";
import type { JobWorker } from "./job.js";

/**
 * Runs `work` for every tenant, one after the other, until the worker's signal aborts. Throws in the end, when it failed for some: an
 * Error that says for how many, with the first error as its cause; at once, when the connection itself is lost.
 */
export async function forEachTenant({ client, signal }: JobWorker, work: (tenantId: string) => Promise<void>): Promise<void> {
  const { rows } = await client.query<{ tenant_id: string }>("SELECT tenant_id FROM list_tenants()");
  const failed: { tenantId: string; error: unknown }[] = [];
  for (const { tenant_id: tenantId } of rows) {
    if (signal.aborted) break;
    try {
      await work(tenantId);
    } catch (error) {
      if (!(await cleanUp(client))) throw error;
      failed.push({ tenantId, error });
    }
  }
  const [first] = failed;
  if (first === undefined) return;
  throw new Error(`failed for ${failed.length} of ${rows.length} tenants, first for ${first.tenantId}`, { cause: first.error });
}

/** After an error: no transaction, no cursor that outlived one. False when the connection is lost. */
export async function cleanUp(client: ClientBase): Promise<boolean> {
  return client.query("ROLLBACK; CLOSE ALL").then(
    () => true,
    () => false,
  );
}
