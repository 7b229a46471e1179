/** Which server and which key a command uses. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { type Client, type ClientTls, createClient } from "../agent/client.js";
import { parseServers } from "../agent/servers.js";
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
  /** Files in PEM, for a server with TLS; see ClientTls. */
  ca?: string;
  clientCert?: string;
  clientKey?: string;
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
  const connection = await resolveConnection(options, scope);
  const client = createClient({ ...connection, tls: await readClientTls(options, connection.server) });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** What the options name. Throws UsageError for files that cannot be read, and for options that would do nothing. */
export async function readClientTls(options: ConnectionOptions, server: string): Promise<ClientTls> {
  const { ca, clientCert, clientKey } = options;
  if ((clientCert === undefined) !== (clientKey === undefined)) {
    throw new UsageError("--client-cert and --client-key go together: a certificate is of no use without its key.");
  }
  if (!isSecure(server)) {
    if (ca === undefined && clientCert === undefined) return {};
    throw new UsageError(`${server} is spoken to in plaintext, and certificates would do nothing. Name the server as https://${server}.`);
  }
  return {
    ...(ca === undefined ? {} : { ca: await readPem("--ca", ca) }),
    ...(clientCert === undefined || clientKey === undefined
      ? {}
      : { certificate: { cert: await readPem("--client-cert", clientCert), key: await readPem("--client-key", clientKey) } }),
  };
}

/** Whether TLS is spoken there. Throws UsageError when it is no address, or are no addresses of one kind. */
function isSecure(server: string): boolean {
  try {
    return parseServers(server)[0].secure;
  } catch (error) {
    throw new UsageError(`--server: ${(error as Error).message}`);
  }
}

async function readPem(option: string, file: string): Promise<Buffer> {
  const bytes = await fs.readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${option}: ${error.message}`);
  });
  if (!bytes.includes("-----BEGIN ")) throw new UsageError(`${option}: ${file} is not a PEM file.`);
  return bytes;
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
