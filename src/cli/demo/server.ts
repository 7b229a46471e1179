/** The demo's own server, on its own data and a free port. */
import type { LocalKeys } from "../connection.js";

export interface DemoServer {
  address: string;
  keys: LocalKeys;
  close(): Promise<void>;
}

/** Starts it with an embedded PostgreSQL under `dataDir`, whatever database the environment names. */
export async function demoServer(dataDir: string): Promise<DemoServer> {
  const { loadConfig } = await import("../../config.js");
  const { createLogger } = await import("../../log.js");
  const { startServer } = await import("../../server/start.js");
  const config = loadConfig({ FROSTLINE_DATA: dataDir, FROSTLINE_LISTEN: "127.0.0.1:0", FROSTLINE_LOG_LEVEL: "warn" });
  const server = await startServer({ config, log: createLogger(config.logLevel, { values: config.logPaths }) });
  return { address: server.address, keys: server.keys as LocalKeys, close: () => server.close() };
}
