/** `bootstrap`: the first tenant and admin key of a PostgreSQL of your own. */
import { type Command, Option } from "commander";
import { action } from "./command.js";
import { databaseUrl } from "./database-url.js";
import { UsageError } from "./errors.js";

export function addBootstrap(program: Command): void {
  program
    .command("bootstrap")
    .description("make the platform tenant and its admin key in a migrated database that has no tenant; the key is shown once")
    .addOption(new Option("--url <url>", "connects as frostline_runtime").env("DATABASE_URL"))
    .action(
      action(async ({ output }, options: { url?: string }) => {
        const url = databaseUrl(options.url);
        if (!url) {
          throw new UsageError(
            "No database. Set DATABASE_URL or pass --url, as frostline_runtime; `frostline serve` makes the keys of its embedded database itself.",
          );
        }
        const { default: pg } = await import("pg");
        const { bootstrap } = await import("../tenancy/tenants.js");
        const pool = new pg.Pool({ connectionString: url, max: 1, connectionTimeoutMillis: 10_000 });
        try {
          const { tenant, adminKey } = await bootstrap(pool);
          if (output.json) await output.print([JSON.stringify({ tenantId: tenant.tenant_id, code: tenant.code, adminKey })]);
          else await output.print([`tenant: ${tenant.code} (${tenant.tenant_id})`, `admin key: ${adminKey}`]);
          output.note("Keep the key now: it is not stored and cannot be shown again.");
          return 0;
        } finally {
          await pool.end();
        }
      }),
    );
}
