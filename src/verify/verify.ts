/** `frostline verify`: every invariant of every tenant, by the runtime role and its row-level security. */
import type { Pool } from "pg";
import { toDomainError } from "../db/errors.js";
import { beginFor } from "../db/tenant.js";
import { listTenants } from "../tenancy/tenants.js";
import { invariants } from "./invariants.js";

export interface Violation {
  tenantId: string;
  tenantCode: string;
  invariant: string;
  /** What should hold. */
  holds: string;
  /** Keys and values of the rows that break it, at most `rowsShown`. */
  rows: string[];
}

const rowsShown = 20;

/**
 * Checks all tenants, each in one snapshot, and yields what is broken; nothing when all is well.
 * Reads whole tables: minutes for hundreds of millions of files. Throws UNAVAILABLE when the database goes away.
 */
export async function* verify(pool: Pool): AsyncGenerator<Violation> {
  for (const tenant of await listTenants(pool)) {
    for (const violation of await verifyTenant(pool, tenant.tenant_id))
      yield { ...violation, tenantId: tenant.tenant_id, tenantCode: tenant.code };
  }
}

async function verifyTenant(pool: Pool, tenantId: string): Promise<Pick<Violation, "invariant" | "holds" | "rows">[]> {
  const client = await pool.connect();
  try {
    // Every statement joins whole tables: by hashing or sorting, even where statistics say that there are ten rows.
    await client.query(
      `${beginFor(tenantId, "READ ONLY")}; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
       SET LOCAL statement_timeout = 0; SET LOCAL enable_nestloop = off; SET LOCAL work_mem = '256MB'`,
    );
    const broken = [];
    for (const { name, holds, sql } of invariants) {
      const { rows } = await client.query<{ row: string }>(`SELECT row FROM (${sql}) violations LIMIT ${rowsShown}`, [tenantId]);
      if (rows.length > 0) broken.push({ invariant: name, holds, rows: rows.map(({ row }) => row) });
    }
    await client.query("COMMIT");
    client.release();
    return broken;
  } catch (error) {
    client.release(true);
    throw toDomainError(error);
  }
}
