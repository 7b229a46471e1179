/** DATABASE_PASSWORD_FILE: a password that is in no environment, which every process of the user's can read. */
import * as fs from "node:fs";

/**
 * The URL with the password that is in the file, as a secret of Docker's or Kubernetes' is: its first line. A URL with a password of
 * its own stays as it is, and so does one without a file. Throws an Error when the file cannot be read or is empty, or the URL names no host.
 */
export function withPasswordFile(url: string, file: string | undefined): string {
  if (!file) return url;
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed !== undefined && parsed.password !== "") return url;
  // Without a host a URL has no place for a password: it would be lost without a word.
  if (parsed === undefined || parsed.host === "") {
    throw new Error("DATABASE_PASSWORD_FILE is set, so the database must be named as in postgres://user@host:5432/database.");
  }
  parsed.password = encodeURIComponent(readPassword(file));
  return parsed.href;
}

function readPassword(file: string): string {
  let text: string;
  try {
    text = fs.readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`DATABASE_PASSWORD_FILE: ${(error as Error).message}`, { cause: error });
  }
  const [password = ""] = text.split(/\r?\n/, 1);
  if (password === "") throw new Error(`DATABASE_PASSWORD_FILE: the first line of ${file} is empty; expected the password.`);
  return password;
}
