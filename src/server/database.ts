/** The database a server runs on: one that is named, or an embedded one that is set up on the way. */
import type { Config } from "../config.js";
import type { EmbeddedExit } from "../db/embedded.js";
import type { Logger } from "../log.js";

/** Name of the database in an embedded PostgreSQL. */
export const embeddedDatabase = "frostline";

export interface Database {
  /** Of the runtime role. */
  url: string;
  embedded: boolean;
  /** Stops the embedded PostgreSQL; nothing for one of your own. */
  stop(): Promise<void>;
}

/** `onLost` is told when an embedded PostgreSQL is down for good. */
export async function openDatabase(config: Config, log: Logger, onLost: (error: Error) => void): Promise<Database> {
  if (config.databaseUrl !== undefined) return { url: config.databaseUrl, embedded: false, stop: async () => {} };
  const onExit = ({ code, signal, log: tail, restarts }: EmbeddedExit) => {
    log.error({ code, signal, tail, restarts }, restarts ? "PostgreSQL crashed; starting it again" : "PostgreSQL crashed, and stays down");
    if (!restarts) onLost(new Error(`The embedded PostgreSQL is down and cannot be restarted. The end of its log:\n${tail}`));
  };
  // Not before: a server on a database of your own needs none of it, and it takes 12 MB.
  const { startEmbedded } = await import("../db/embedded.js");
  const { createDatabase, migrate } = await import("../db/migrate.js");
  const postgres = await startEmbedded({ dataDir: config.dataDir, onExit });
  try {
    await createDatabase(postgres.url("postgres", "postgres"), embeddedDatabase);
    await migrate(postgres.url("frostline_owner", embeddedDatabase));
  } catch (error) {
    await postgres.stop();
    throw error;
  }
  return { url: postgres.url("frostline_runtime", embeddedDatabase), embedded: true, stop: () => postgres.stop() };
}
