/** A container's file system without an engine: a process that sees nothing but a directory, as a user who owns none of it. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

/** As in Node's images: the user `node`, and where the program is. */
const uid = 1000;
const nodeInImage = "/usr/local/bin/node";

/** Root alone may do it, on Linux, and in a container only with the capabilities. */
export function canConfine(): boolean {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  return spawnSync("unshare", ["--root=/", "--wd=/", `--setgid=${uid}`, `--setuid=${uid}`, "true"]).status === 0;
}

/** What the base image would bring: Node with the libraries that it is linked with; and what an engine puts into every container. */
export function addBase(root: string): void {
  const { stdout, status } = spawnSync("ldd", [process.execPath], { encoding: "utf8" });
  if (status !== 0) throw new Error("ldd does not tell what Node is linked with.");
  const libraries = [...stdout.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm)].map(([, library]) => library as string);
  for (const library of libraries) copy(library, path.join(root, library));
  copy(process.execPath, path.join(root, nodeInImage));
  for (const file of ["/etc/hosts", "/etc/resolv.conf"]) if (fs.existsSync(file)) copy(file, path.join(root, file));
}

/** A file that the user in there can read, as a secret is mounted. */
export function mountFile(root: string, inside: string, text: string): void {
  const file = path.join(root, inside);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text, { mode: 0o400 });
  fs.chownSync(file, uid, uid);
}

/** The command line that runs this one in there. */
export function confined(root: string, workdir: string, [file = "", ...args]: string[]): string[] {
  const options = [`--root=${root}`, `--wd=${workdir}`, `--setgid=${uid}`, `--setuid=${uid}`];
  return ["unshare", ...options, "--", file === "node" ? nodeInImage : file, ...args];
}

function copy(from: string, to: string): void {
  fs.mkdirSync(path.dirname(to), { recursive: true });
  fs.copyFileSync(fs.realpathSync(from), to);
  fs.chmodSync(to, 0o755);
}
