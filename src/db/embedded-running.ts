/** What there is of an embedded PostgreSQL in a data directory, without touching it. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { EmbeddedRole } from "./embedded.js";
import { exists, makeDataDirectories } from "./embedded-access.js";
import { isLocked } from "./embedded-lock.js";

export type EmbeddedState =
  /** No database was ever made there. */
  | { state: "none" }
  | { state: "stopped" }
  /** Another process (or this one) runs it. */
  | { state: "running"; url(role: EmbeddedRole, database: string): string };

/** Lines of postmaster.pid. */
const portLine = 3;
const statusLine = 7;

/** Throws when the server is just starting or stopping, or its files may not be read. */
export async function findEmbedded(dataDir: string): Promise<EmbeddedState> {
  if (!(await exists(dataDir))) return { state: "none" };
  const dirs = await makeDataDirectories(dataDir);
  const cluster = path.join(dirs.postgres, "cluster");
  if (!(await exists(path.join(cluster, "PG_VERSION")))) return { state: "none" };
  if (!(await isLocked(dirs.own))) return { state: "stopped" };
  const port = await readPort(cluster);
  if (port === undefined) throw new Error(`The server on ${dirs.own} is starting or stopping. Try again in a moment.`);
  const passwords = JSON.parse(await fs.readFile(path.join(dirs.own, "passwords.json"), "utf8")) as Record<EmbeddedRole, string>;
  return {
    state: "running",
    url: (role, database) => `postgres://${role}:${passwords[role]}@127.0.0.1:${port}/${encodeURIComponent(database)}`,
  };
}

/** The port of a PostgreSQL that accepts connections. */
async function readPort(cluster: string): Promise<number | undefined> {
  const text = await fs.readFile(path.join(cluster, "postmaster.pid"), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const lines = text.split("\n");
  return lines[statusLine]?.trim() === "ready" ? Number(lines[portLine]) : undefined;
}
