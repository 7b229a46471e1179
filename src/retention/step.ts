/** A transaction of a job. */
import type { ClientBase } from "pg";
import { beginFor } from "../db/tenant.js";

/** Who does it: the connection of the background jobs, and for whom. */
export interface Worker {
  client: ClientBase;
  tenantId: string;
  /** Between two transactions it is looked at. */
  signal: AbortSignal;
}

/** For the rest of the transaction: what looks through whole tables may take hours, and one that hangs must end. */
export const allowLongStatements = "SET LOCAL statement_timeout = '4h'";

/** Runs `work` in a transaction of the tenant and commits. After an error the connection is not to be used any more. */
export async function step<T>({ client, tenantId }: Pick<Worker, "client" | "tenantId">, work: () => Promise<T>): Promise<T> {
  await client.query(beginFor(tenantId));
  const result = await work();
  await client.query("COMMIT");
  return result;
}
