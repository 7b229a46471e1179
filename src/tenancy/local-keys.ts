/** The tenant and keys of an embedded database, so that a first start needs no set-up. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { Pool } from "pg";
import { authenticate, createKey, type KeyScope, keyScopes } from "./keys.js";
import { createTenant, listTenants } from "./tenants.js";

const tenantCode = "dev";

/** What the file keys.json holds: the server's address, and a key of each scope. */
export type LocalKeys = Record<KeyScope, string> & { server: string };

/**
 * Makes sure that the tenant `dev` exists and that `<dataDir>/keys.json` (readable by its owner only) has a working key of
 * each scope; keys that still work are kept. `server` is what goes into the file: the address as clients name it.
 */
export async function ensureLocalKeys(pool: Pool, dataDir: string, server: string): Promise<{ file: string; keys: LocalKeys }> {
  const file = path.join(dataDir, "keys.json");
  const known = await readKeys(file);
  const keys = { server } as LocalKeys;
  const found = (await listTenants(pool)).find((tenant) => tenant.code === tenantCode);
  const made = found === undefined ? await createTenant(pool, { code: tenantCode, name: "Development", isPlatform: true }) : undefined;
  const tenantId = (found ?? made?.tenant)?.tenant_id as string;
  if (made !== undefined) known.admin = made.adminKey;
  for (const scope of keyScopes) {
    const secret = known[scope];
    const caller = secret === undefined ? undefined : await authenticate(pool, secret);
    const works = caller?.tenantId === tenantId && caller.scopes.includes(scope);
    keys[scope] = works ? (secret as string) : (await createKey(pool, tenantId, { name: `local ${scope}`, scopes: [scope] })).secret;
  }
  await writeKeys(file, keys);
  return { file, keys };
}

async function readKeys(file: string): Promise<Partial<LocalKeys>> {
  const text = await fs.readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "{}";
    throw error;
  });
  try {
    return JSON.parse(text) as Partial<LocalKeys>;
  } catch (error) {
    // Keys are only ever replaced: what a person spoiled is written anew.
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

/** Replaced as a whole: a reader sees the old keys or the new ones. */
async function writeKeys(file: string, keys: LocalKeys): Promise<void> {
  const partial = `${file}.${process.pid}.partial`;
  await fs.rm(partial, { force: true });
  await fs.writeFile(partial, `${JSON.stringify(keys, undefined, 2)}\n`, { mode: 0o600, flag: "wx" });
  await fs.rename(partial, file);
}
