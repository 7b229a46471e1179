/** Months of audit_log. */
import type { ClientBase } from "pg";

const monthsAhead = 2;

/** Makes the partitions of this month and the next ones, where they are missing. Returns their names. */
export async function makePartitions(client: ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>("SELECT name FROM make_audit_log_partitions($1) AS name", [monthsAhead]);
  return rows.map(({ name }) => name);
}
