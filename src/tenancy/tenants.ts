/** Tenants: each one's data is invisible to every other. */
import { randomUUID } from "node:crypto";
import type { Pool } from "pg";
import { sqlState, toDomainError } from "../db/errors.js";
import { inTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { insertKey } from "./keys.js";
import { assertName, invalidField } from "./validate.js";

export interface Tenant {
  tenant_id: string;
  code: string;
  name: string;
  is_platform: boolean;
  created_utc: Date;
}

export interface NewTenant {
  /** Lower case letters, digits and `-`, 1 to 63; unique. */
  code: string;
  name: string;
  /** Its admins may create and list tenants. */
  isPlatform?: boolean;
}

/** Makes a tenant and its first key, scope admin. Throws INVALID_ARGUMENT, and ALREADY_EXISTS when the code is taken. */
export async function createTenant(pool: Pool, tenant: NewTenant): Promise<{ tenant: Tenant; adminKey: string }> {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(tenant.code)) {
    throw invalidField("code", "must be 1 to 63 lower case letters, digits and `-`, and start with a letter or digit.");
  }
  assertName("name", tenant.name);
  const tenantId = randomUUID();
  return inTenant(pool, tenantId, async (client) => {
    const { rows } = await client
      .query<Tenant>("SELECT tenant_id, code, name, is_platform, created_utc FROM create_tenant($1, $2, $3, $4)", [
        tenantId,
        tenant.code,
        tenant.name,
        tenant.isPlatform ?? false,
      ])
      .catch((error) => {
        throw sqlState(error) === "23505" ? codeTaken(tenant.code) : error;
      });
    const { secret } = await insertKey(client, tenantId, { name: "first admin", scopes: ["admin"] });
    return { tenant: rows[0] as Tenant, adminKey: secret };
  });
}

function codeTaken(code: string): DomainError {
  return new DomainError("ALREADY_EXISTS", `A tenant with the code ${code} exists. Choose another code.`, {
    reason: "TENANT_EXISTS",
    metadata: { code },
  });
}

/** All tenants, by code. */
export async function listTenants(pool: Pool): Promise<Tenant[]> {
  const { rows } = await pool
    .query<Tenant>("SELECT tenant_id, code, name, is_platform, created_utc FROM list_tenants() ORDER BY code")
    .catch((error) => {
      throw toDomainError(error);
    });
  return rows;
}

/** Makes the first tenant, `platform`, of a new installation. Throws FAILED_PRECONDITION when there are tenants already. */
export async function bootstrap(pool: Pool): Promise<{ tenant: Tenant; adminKey: string }> {
  if ((await listTenants(pool)).length > 0) {
    throw new DomainError("FAILED_PRECONDITION", "This database has tenants already. Ask an admin of its platform tenant for a key.", {
      reason: "ALREADY_BOOTSTRAPPED",
    });
  }
  return createTenant(pool, { code: "platform", name: "Platform", isPlatform: true });
}
