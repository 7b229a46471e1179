/** `migrate`: brings a PostgreSQL of your own to the newest schema. */
import { type Command, Option } from "commander";
import { action } from "./command.js";
import { databaseUrl } from "./database-url.js";
import { UsageError } from "./errors.js";

interface MigrateOptions {
  url?: string;
  superuserUrl?: string;
}

export function addMigrate(program: Command): void {
  program
    .command("migrate")
    .description("bring a database to the newest schema; the embedded one needs no such command")
    .addOption(new Option("--url <url>", "connects as frostline_owner").env("DATABASE_URL"))
    .option(
      "--superuser-url <url>",
      "connects as a superuser, and names the database: makes roles and database first where they are missing",
    )
    .action(
      action(async ({ output }, options: MigrateOptions) => {
        const { createDatabase, migrate } = await import("../db/migrate.js");
        if (options.superuserUrl !== undefined) await createDatabase(...serverAndDatabase(options.superuserUrl));
        const url = options.superuserUrl === undefined ? databaseUrl(options.url) : asOwner(options.superuserUrl);
        if (!url) {
          throw new UsageError(
            "No database. Set DATABASE_URL or pass --url, as frostline_owner; `frostline serve` migrates its embedded database itself.",
          );
        }
        const migrations = await migrate(url);
        if (output.json) await output.print([JSON.stringify({ migrations })]);
        else
          await output.print(migrations.length === 0 ? ["The schema is the newest already."] : migrations.map((name) => `done  ${name}`));
        return 0;
      }),
    );
}

/** A database named in the URL may not exist yet: what makes it connects to `postgres`. */
function serverAndDatabase(superuserUrl: string): [string, string] {
  const url = parseUrl(superuserUrl);
  const database = decodeURIComponent(url.pathname.slice(1));
  if (database === "")
    throw new UsageError("--superuser-url names no database. Put its name at the end, as in postgres://postgres@localhost/frostline.");
  url.pathname = "/postgres";
  return [url.href, database];
}

/** A superuser's session that acts as the owner: everything made in it is the owner's, and no password of the owner is needed. */
function asOwner(superuserUrl: string): string {
  const url = parseUrl(superuserUrl);
  url.searchParams.set("options", "-c role=frostline_owner");
  return url.href;
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^postgres(ql)?:$/.test(url.protocol))
    throw new UsageError("--superuser-url must be like postgres://user:password@host:5432/database.");
  return url;
}
