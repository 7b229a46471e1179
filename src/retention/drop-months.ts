/** Months of the audit log that retention has emptied. */
import type { ClientBase } from "pg";
import { sqlState } from "../db/errors.js";

/** A month that is in use at the moment is left for the next run. */
const lockNotAvailable = "55P03";

/** Drops months that were over for 31 days and have no row of any tenant. Returns their names. */
export async function dropEmptyMonths(client: ClientBase): Promise<string[]> {
  try {
    const { rows } = await client.query<{ name: string }>("SELECT drop_empty_audit_log_partitions(now() - interval '31 days') AS name");
    return rows.map(({ name }) => name);
  } catch (error) {
    if (sqlState(error) === lockNotAvailable) return [];
    throw error;
  }
}
