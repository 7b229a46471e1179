/** `tenant create` and `tenant list`. */
import type { Command } from "commander";
import { CreateTenantResponseSchema, type Tenant, TenantSchema, TenantService } from "../gen/frostline/v1/tenant_pb.js";
import { action } from "./command.js";
import { withClient } from "./connection.js";
import { isoTimestamp, table } from "./format.js";

export function addTenant(program: Command): void {
  const tenant = program.command("tenant").description("create and list tenants; needs an admin key of the platform tenant");
  tenant
    .command("create <code>")
    .description("create a tenant and its first admin key, which is shown once and never again")
    .option("--name <name>", "its name (default: the code)")
    .action(
      action(async ({ global, output }, options: { name?: string }, code: string) => {
        const response = await withClient(global, "admin", (client) =>
          client.unary(TenantService.method.createTenant, { code, name: options.name ?? code }),
        );
        if (output.json) {
          await output.printMessages(CreateTenantResponseSchema, [response]);
          return 0;
        }
        await output.print([...tenantTable([response.tenant as Tenant]), "", `admin key: ${response.adminKey}`]);
        output.note("Keep the key now: it is not stored and cannot be shown again.");
        return 0;
      }),
    );
  tenant
    .command("list")
    .description("list all tenants")
    .action(
      action(async ({ global, output }) => {
        const { tenants } = await withClient(global, "admin", (client) => client.unary(TenantService.method.listTenants, {}));
        if (output.json) await output.printMessages(TenantSchema, tenants);
        else await output.print(tenantTable(tenants));
        return 0;
      }),
    );
}

function tenantTable(tenants: Tenant[]): string[] {
  return table(
    [{ title: "CODE" }, { title: "TENANT ID" }, { title: "CREATED" }, { title: "NAME" }],
    tenants.map((tenant) => [tenant.code, tenant.tenantId, isoTimestamp(tenant.createTime), tenant.name]),
  );
}
