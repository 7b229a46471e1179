/** The tenant that a token names: it must exist, and not be about to be erased. */
import type { Pool } from "pg";
import { toDomainError } from "../../db/errors.js";
import { readTenant } from "../../db/tenant.js";

export interface TokenTenant {
  tenantId: string;
  isPlatform: boolean;
}

/** An erased tenant's tokens are refused after so long at the most; its keys at once. */
const keptMs = 5_000;
const keptAtMost = 1_000;

interface Kept {
  found: Promise<TokenTenant | undefined>;
  untilMs: number;
}

export class TenantLookup {
  readonly #pool: Pool;
  readonly #kept = new Map<string, Kept>();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** By id or by code; undefined when there is none. */
  find(name: string): Promise<TokenTenant | undefined> {
    const nowMs = performance.now();
    const kept = this.#kept.get(name);
    if (kept !== undefined && kept.untilMs > nowMs) return kept.found;
    const found = findTenant(this.#pool, name);
    this.#kept.delete(name);
    this.#kept.set(name, { found, untilMs: nowMs + keptMs });
    if (this.#kept.size > keptAtMost) this.#kept.delete(this.#kept.keys().next().value as string);
    // A failure of the database is not kept.
    found.catch(() => {
      if (this.#kept.get(name)?.found === found) this.#kept.delete(name);
    });
    return found;
  }
}

interface Row {
  tenant_id: string;
  is_platform: boolean;
  is_named: boolean;
}

/** What is named like an id is looked for by id alone: a code can look like one. */
async function findTenant(pool: Pool, name: string): Promise<TokenTenant | undefined> {
  const { rows } = await pool
    .query<Row>(
      `SELECT tenant_id, is_platform, n.is_named FROM list_tenants() t
       CROSS JOIN LATERAL (SELECT CASE WHEN $2 THEN t.tenant_id::text = lower($1) ELSE t.code = $1 END AS is_named) n
       WHERE n.is_named OR t.is_platform`,
      [name, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(name)],
    )
    .catch((error) => {
      throw toDomainError(error);
    });
  const tenant = rows.find((row) => row.is_named);
  if (tenant === undefined) return undefined;
  for (const platform of rows.filter((row) => row.is_platform)) {
    if (await isBeingErased(pool, platform.tenant_id, tenant.tenant_id)) return undefined;
  }
  return { tenantId: tenant.tenant_id, isPlatform: tenant.is_platform };
}

/** Its keys were revoked when its erasure was asked for, by the platform; what is left to erase may take a while. */
async function isBeingErased(pool: Pool, platformId: string, tenantId: string): Promise<boolean> {
  return readTenant(pool, platformId, async (client) => {
    const { rowCount } = await client.query(
      "SELECT FROM erasure WHERE tenant_id = $1 AND kind = 'TENANT' AND erased_tenant_id = $2 LIMIT 1",
      [platformId, tenantId],
    );
    return rowCount === 1;
  });
}
