/** Who may read the metrics, which name tenants and shares: whoever has the secret of a file, if there is one. */
import { createHash, timingSafeEqual } from "node:crypto";
import * as fs from "node:fs/promises";

const charsAtLeast = 16;

/** Throws an Error that names the setting, when the file cannot be read or holds no secret. */
export async function readMetricsKey(file: string): Promise<string> {
  const text = await fs.readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new Error(`FROSTLINE_METRICS_KEY_FILE cannot be read: ${error.message}`, { cause: error });
  });
  const key = text.trim();
  if (key.length < charsAtLeast) throw new Error(`FROSTLINE_METRICS_KEY_FILE: ${file} has less than ${charsAtLeast} characters.`);
  return key;
}

/** The file is read each time: it may be replaced while the server runs. Not a key of the API: metrics must be there when the database is not. */
export async function mayReadMetrics(file: string | undefined, authorization: string | undefined): Promise<boolean> {
  if (file === undefined) return true;
  const given = /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1];
  if (given === undefined) return false;
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(await readMetricsKey(file)));
}
