/** frostline.v1.TenantService */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { type ApiKeySchema, KeyScope, type TenantSchema, type TenantService } from "../gen/frostline/v1/tenant_pb.js";
import * as keys from "../tenancy/keys.js";
import * as tenants from "../tenancy/tenants.js";
import { invalidField } from "../tenancy/validate.js";
import { caller, type ServerDeps } from "./context.js";
import { optionalDate, timestampField } from "./convert.js";

const scopeNames: Record<keys.KeyScope, KeyScope> = {
  agent: KeyScope.AGENT,
  operator: KeyScope.OPERATOR,
  reader: KeyScope.READER,
  admin: KeyScope.ADMIN,
};

export function tenantService({ pool }: ServerDeps): ServiceImpl<typeof TenantService> {
  return {
    async createTenant({ code, name }) {
      const { tenant, adminKey } = await tenants.createTenant(pool, { code, name });
      return { tenant: toTenant(tenant), adminKey };
    },
    async listTenants() {
      return { tenants: (await tenants.listTenants(pool)).map(toTenant) };
    },
    async createKey({ name, scopes, expireTime }, context) {
      const wanted = { name, scopes: scopes.map(fromScope), expiresUtc: optionalDate("expire_time", expireTime) };
      const { key, secret } = await keys.createKey(pool, caller(context).tenantId, wanted);
      return { key: toApiKey(key), secret };
    },
    async listKeys(_, context) {
      return { keys: (await keys.listKeys(pool, caller(context).tenantId)).map(toApiKey) };
    },
    async revokeKey({ keyId }, context) {
      const { tenantId, callerId } = caller(context);
      return { key: toApiKey(await keys.revokeKey(pool, tenantId, callerId, keyId)) };
    },
  };
}

function fromScope(scope: KeyScope): keys.KeyScope {
  const found = keys.keyScopes.find((name) => scopeNames[name] === scope);
  if (found === undefined) throw invalidField("scopes", `has ${KeyScope[scope] ?? scope}, which is no scope.`);
  return found;
}

function toTenant(tenant: tenants.Tenant): MessageInitShape<typeof TenantSchema> {
  return { tenantId: tenant.tenant_id, code: tenant.code, name: tenant.name, ...timestampField("createTime", tenant.created_utc) };
}

function toApiKey(key: keys.ApiKey): MessageInitShape<typeof ApiKeySchema> {
  return {
    keyId: key.key_id,
    name: key.name,
    scopes: key.scopes.map((scope) => scopeNames[scope]),
    ...timestampField("createTime", key.created_utc),
    ...timestampField("expireTime", key.expires_utc),
    ...timestampField("revokeTime", key.revoked_utc),
  };
}
