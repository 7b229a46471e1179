/** Which server and which key a command uses. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { type Client, createClient } from "../agent/client.js";
import { UsageError } from "./errors.js";

/** What `serve` writes for its own embedded database. */
export interface LocalKeys {
  server: string;
  admin: string;
  operator: string;
  agent: string;
  reader: string;
}

/** What a key may do; see KeyScope. */
export type Scope = Exclude<keyof LocalKeys, "server">;

export interface ConnectionOptions {
  server?: string;
  key?: string;
  /** Directory of the local server's data. */
  data: string;
}

const defaultServer = "127.0.0.1:50051";

/**
 * Server and key as given; what is not given comes from the local server's keys.json. A local key is
 * never sent to another server than the one that made it. Throws UsageError when no key can be had.
 */
export async function resolveConnection(options: ConnectionOptions, scope: Scope): Promise<{ server: string; key: string }> {
  const file = path.resolve(options.data, "keys.json");
  if (options.server !== undefined && options.key !== undefined) return { server: options.server, key: options.key };
  const local = await readLocalKeys(file);
  const server = options.server ?? local?.server ?? defaultServer;
  if (options.key !== undefined) return { server, key: options.key };
  if (local === undefined) {
    throw new UsageError(
      `No key for ${server}. Pass --key or set FROSTLINE_KEY; or start a local server with \`frostline serve\`, which writes ${file}.`,
    );
  }
  if (server !== local.server) {
    throw new UsageError(`No key for ${server}: ${file} holds those of ${local.server}. Pass --key or set FROSTLINE_KEY.`);
  }
  return { server, key: local[scope] };
}

/** Runs `work` with a client of the least scope that does, and closes it. */
export async function withClient<T>(options: ConnectionOptions, scope: Scope, work: (client: Client) => Promise<T>): Promise<T> {
  const client = createClient(await resolveConnection(options, scope));
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

async function readLocalKeys(file: string): Promise<LocalKeys | undefined> {
  const text = await fs.readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw new UsageError(
      `The local server's keys cannot be read: ${error.message}. Pass --key and --server, or name another directory with --data.`,
    );
  });
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as LocalKeys;
  } catch (error) {
    throw new UsageError(`${file} is not JSON. Start the server again with \`frostline serve\`, which writes it anew.`, { cause: error });
  }
}
