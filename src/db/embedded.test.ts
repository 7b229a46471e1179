import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import pg from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type EmbeddedExit, type EmbeddedPostgres, startEmbedded } from "./embedded.js";
import { makeDataDirectories, postgresAccount } from "./embedded-access.js";
import { findBinaries } from "./embedded-binaries.js";

const settings = { shared_buffers: "16MB" };
let dataDir: string;
let running: EmbeddedPostgres | undefined;

beforeAll(async () => {
  dataDir = await fs.mkdtemp(path.join(os.tmpdir(), "frostline-embedded-"));
  await fs.chmod(dataDir, 0o711);
});
afterEach(async () => {
  await running?.stop();
  running = undefined;
});
afterAll(() => fs.rm(dataDir, { recursive: true, force: true }));

async function ask(url: string, sql: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query({ text: sql, rowMode: "array" });
    return rows[0]?.[0];
  } finally {
    await client.end();
  }
}

test("each role logs in with its own password, nobody without", { timeout: 60_000 }, async () => {
  running = await startEmbedded({ dataDir, settings });
  expect(await ask(running.url("frostline_runtime", "postgres"), "SELECT current_user")).toBe("frostline_runtime");
  expect(await ask(running.url("frostline_owner", "postgres"), "SELECT current_setting('fsync')")).toBe("on");
  for (const bad of ["postgres", "postgres:guess"]) {
    await expect(ask(`postgres://${bad}@127.0.0.1:${running.port}/postgres`, "SELECT 1")).rejects.toThrow(/password/);
  }
  const { own } = await makeDataDirectories(dataDir);
  expect((await fs.stat(path.join(own, "passwords.json"))).mode & 0o777).toBe(0o600);
});

test("a second server on the same data is refused by pid", async () => {
  running = await startEmbedded({ dataDir, settings });
  await expect(startEmbedded({ dataDir, settings })).rejects.toThrow(`in use by process ${process.pid}`);
  expect(await ask(running.url("postgres", "postgres"), "SELECT 1")).toBe(1);
});

test("the lock of a process that is gone is taken over", async () => {
  const child = spawn(process.execPath, ["-e", ""]);
  await once(child, "exit");
  const { own } = await makeDataDirectories(dataDir);
  await fs.writeFile(path.join(own, "lock.json"), JSON.stringify({ pid: child.pid, started: "" }));
  running = await startEmbedded({ dataDir, settings });
  expect(await ask(running.url("postgres", "postgres"), "SELECT 1")).toBe(1);
});

test("a PostgreSQL whose starter is gone is stopped first", async () => {
  const cluster = path.join((await makeDataDirectories(dataDir)).postgres, "cluster");
  const args = [
    "-D",
    cluster,
    "-p",
    "0",
    "-c",
    "listen_addresses=",
    "-c",
    `unix_socket_directories=${path.dirname(cluster)}`,
    "-p",
    "5432",
  ];
  const orphan = spawn(path.join(await findBinaries(18), "bin", "postgres"), args, {
    stdio: ["ignore", "ignore", "pipe"],
    ...postgresAccount(),
  });
  for await (const text of orphan.stderr) if (String(text).includes("ready to accept")) break;
  const gone = once(orphan, "exit");
  running = await startEmbedded({ dataDir, settings });
  await gone;
  expect(await ask(running.url("postgres", "postgres"), "SELECT 1")).toBe(1);
});

test("PostgreSQL comes back on its port after it was killed", { timeout: 60_000 }, async () => {
  let told: (exit: EmbeddedExit) => void;
  const exit = new Promise<EmbeddedExit>((resolve) => {
    told = resolve;
  });
  running = await startEmbedded({ dataDir, settings, onExit: (exit) => told(exit) });
  const { pid } = running;
  process.kill(pid, "SIGKILL");
  expect(await exit).toMatchObject({ signal: "SIGKILL", restarts: true });
  const url = running.url("postgres", "postgres");
  await expect.poll(() => ask(url, "SELECT 1").catch(() => undefined), { timeout: 30_000 }).toBe(1);
  expect(running.pid).not.toBe(pid);
});
