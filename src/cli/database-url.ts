/** The database of `migrate`, `bootstrap` and `verify`. */
import { withPasswordFile } from "../database-url.js";

/** What --url or DATABASE_URL says, with the password of DATABASE_PASSWORD_FILE if it has none. */
export function databaseUrl(given: string): string;
export function databaseUrl(given: string | undefined): string | undefined;
export function databaseUrl(given: string | undefined): string | undefined {
  return given && withPasswordFile(given, process.env.DATABASE_PASSWORD_FILE);
}
