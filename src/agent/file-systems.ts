/** Which directories are on a local disk: there, what is cached may be asked for without handing the call to another thread. */
import * as fs from "node:fs/promises";

/**
 * Linux file systems on local disks: ext2 to 4, XFS, Btrfs, tmpfs, overlayfs. Their directories' sizes grow with the entries;
 * others may answer 0 or 4,096 for any directory.
 */
const localTypes = new Set([0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x794c7630]);

export interface FileSystems {
  /** The whole tree is on one local disk: no call on it waits for a network. */
  allLocal: boolean;
  /** Whether a file system is on a local disk. `path` is in it, `dev` its st_dev. */
  isLocal(path: Buffer, dev: bigint): Promise<boolean>;
}

/** `root` is an absolute path without symlinks. On other systems than Linux nothing is known to be local. */
export async function createFileSystems(root: string): Promise<FileSystems> {
  if (process.platform !== "linux") return { allLocal: false, isLocal: () => Promise.resolve(false) };
  const known = new Map<bigint, boolean>();
  const isLocalPath = async (path: string | Buffer) => localTypes.has((await fs.statfs(path)).type);
  return {
    allLocal: (await isLocalPath(root)) && !(await hasMountsBelow(root)),
    async isLocal(path, dev) {
      const local = known.get(dev) ?? (await isLocalPath(path));
      known.set(dev, local);
      return local;
    },
  };
}

/** Whether another file system is mounted below `root`; true when that can't be known. */
async function hasMountsBelow(root: string): Promise<boolean> {
  const table = await fs.readFile("/proc/self/mountinfo", "latin1").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "EACCES") return undefined;
    throw error;
  });
  if (table === undefined) return true;
  const prefix = Buffer.from(root === "/" ? root : `${root}/`).toString("latin1");
  return table.split("\n").some((line) => {
    // The fifth field is the mount point; blanks and backslashes in it are written in octal.
    const point = (line.split(" ")[4] ?? "").replace(/\\([0-7]{3})/g, (_all, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    return point !== root && point.startsWith(prefix);
  });
}
