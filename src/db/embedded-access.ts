/** Accounts and directories of the embedded PostgreSQL: it refuses to run as root, so root runs it as another user. */
import * as fs from "node:fs/promises";
import * as path from "node:path";

/** `nobody` exists everywhere and owns nothing. */
const unprivileged = { uid: 65534, gid: 65534 };

export function runsAsRoot(): boolean {
  return process.getuid?.() === 0;
}

/** The account that PostgreSQL is spawned under: our own unless we are root. */
export function postgresAccount(): { uid?: number; gid?: number } {
  return runsAsRoot() ? unprivileged : {};
}

export interface DataDirectories {
  /** Ours alone: the lock and the passwords. */
  own: string;
  /** PostgreSQL's account owns it. */
  postgres: string;
}

/**
 * Makes the directories below `wanted`. As root, when `wanted` lies below a private home that PostgreSQL's account cannot
 * enter, they are made below /var/lib/frostline instead.
 */
export async function makeDataDirectories(wanted: string): Promise<DataDirectories> {
  const asked = path.resolve(wanted);
  await fs.mkdir(asked, { recursive: true, mode: runsAsRoot() ? 0o711 : 0o700 });
  const own = await reachablePlace(asked);
  const postgres = path.join(own, "postgres");
  await fs.mkdir(postgres, { recursive: true, mode: 0o700 });
  if (runsAsRoot()) await fs.chown(postgres, unprivileged.uid, unprivileged.gid);
  return { own, postgres };
}

async function reachablePlace(asked: string): Promise<string> {
  if (!runsAsRoot()) return asked;
  if (await reachableByOthers(path.dirname(asked))) {
    await fs.chmod(asked, 0o711);
    return asked;
  }
  const place = "/var/lib/frostline";
  const dir = path.join(place, asked.replaceAll("/", "-"));
  await fs.mkdir(dir, { recursive: true });
  await fs.chmod(place, 0o755);
  await fs.chmod(dir, 0o711);
  return dir;
}

/** True when any account may enter every directory above `file`, and enter or run `file` itself. */
export async function reachableByOthers(file: string): Promise<boolean> {
  for (let at = path.resolve(file); ; at = path.dirname(at)) {
    if (((await fs.stat(at)).mode & 0o001) === 0) return false;
    if (at === path.dirname(at)) return true;
  }
}

/** Lets any account read a tree, whatever the umask was when it was made. */
export async function openToOthers(root: string): Promise<void> {
  await fs.chmod(root, 0o755);
  for (const entry of await fs.readdir(root, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue;
    const file = path.join(entry.parentPath, entry.name);
    const { mode } = await fs.stat(file);
    await fs.chmod(file, mode & 0o100 ? 0o755 : 0o644);
  }
}

export async function exists(file: string): Promise<boolean> {
  return fs.access(file).then(
    () => true,
    () => false,
  );
}

/** Writes a file that only its owner can read; replaces it as a whole, so that a crash leaves the old or the new one. */
export async function writePrivateFile(file: string, text: string): Promise<void> {
  const partial = `${file}.${process.pid}.partial`;
  await fs.rm(partial, { force: true });
  await fs.writeFile(partial, text, { mode: 0o600, flag: "wx" });
  await fs.rename(partial, file);
}
