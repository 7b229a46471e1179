/** How long everything but history is kept, in days: the defaults, and a tenant's own. */
import type { ClientBase } from "pg";
import { invalidField } from "../tenancy/validate.js";

export interface Bounds {
  /** What was done to files, by whom: also what rules are tried against. Whole months are forgotten. */
  auditLogDays: number;
  /** Which chunks of a scan that has ended arrived. */
  ledgerDays: number;
  /** What a scan refused or could not read. */
  problemDays: number;
  /** Accesses to tiered files. Longer than any rule's window. */
  warmingDays: number;
  /** Files that are missing, once no kept history has them. */
  missingDays: number;
}

export const defaultBounds: Bounds = { auditLogDays: 400, ledgerDays: 7, problemDays: 90, warmingDays: 400, missingDays: 30 };

const daysAtMost = 36_500;

/** Within a transaction of the tenant. */
export async function readBounds(client: ClientBase, tenantId: string): Promise<Bounds> {
  const { rows } = await client.query<{ [Name in keyof Bounds]: number | null }>(
    `SELECT audit_log_days AS "auditLogDays", ledger_days AS "ledgerDays", problem_days AS "problemDays", warming_days AS "warmingDays",
       missing_days AS "missingDays" FROM retention_bound WHERE tenant_id = $1`,
    [tenantId],
  );
  const bounds = { ...defaultBounds };
  for (const name of Object.keys(bounds) as (keyof Bounds)[]) bounds[name] = rows[0]?.[name] ?? bounds[name];
  return bounds;
}

/** Sets those that are given; the others stay. Throws INVALID_ARGUMENT. Within a transaction of the tenant. */
export async function setBounds(
  client: ClientBase,
  tenantId: string,
  given: { [Name in keyof Bounds]?: number | undefined },
): Promise<Bounds> {
  for (const [name, days] of Object.entries(given)) {
    if (days !== undefined)
      assertDays(
        name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
        days,
      );
  }
  await client.query(
    `INSERT INTO retention_bound AS b (tenant_id, audit_log_days, ledger_days, problem_days, warming_days, missing_days) VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (tenant_id) DO UPDATE SET audit_log_days = coalesce(excluded.audit_log_days, b.audit_log_days),
       ledger_days = coalesce(excluded.ledger_days, b.ledger_days), problem_days = coalesce(excluded.problem_days, b.problem_days),
       warming_days = coalesce(excluded.warming_days, b.warming_days), missing_days = coalesce(excluded.missing_days, b.missing_days)`,
    [tenantId, given.auditLogDays, given.ledgerDays, given.problemDays, given.warmingDays, given.missingDays],
  );
  return readBounds(client, tenantId);
}

/** Throws INVALID_ARGUMENT unless `days` is 1 to 36,500. */
export function assertDays(field: string, days: number): void {
  if (!(Number.isInteger(days) && days >= 1 && days <= daysAtMost))
    throw invalidField(field, `is ${days}; it must be from 1 to ${daysAtMost}.`);
}
