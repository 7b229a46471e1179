/** `serve`: the server, until a signal stops it. */
import { once } from "node:events";
import * as path from "node:path";
import type { Command } from "commander";
import type { Logger } from "../log.js";
import { action } from "./command.js";
import { catchInterrupt } from "./interrupt.js";

/** What is still there so long after the stop should not be. */
const leftoverMs = 1000;

export function addServe(program: Command): void {
  program
    .command("serve")
    .description("run the server; without DATABASE_URL on an embedded PostgreSQL under the data directory")
    .action(
      action(async ({ global, output }) => {
        // Loaded here, so that the other commands start without them.
        const { loadConfig } = await import("../config.js");
        const { createLogger } = await import("../log.js");
        const { collectSooner } = await import("../server/heap.js");
        collectSooner();
        const { startServer } = await import("../server/start.js");
        const config = loadConfig({ ...process.env, FROSTLINE_DATA: global.data });
        const interrupt = catchInterrupt();
        const log = createLogger(config.logLevel, { values: config.logPaths });
        const server = await startServer({ config, log });
        // Without TLS it keeps its usual effect: the terminal is gone, the server ends.
        const onHangUp = () => void server.reloadTls();
        if (config.tls !== undefined) process.on("SIGHUP", onHangUp);
        const keysFile = server.keys === undefined ? undefined : path.resolve(config.dataDir, "keys.json");
        const { address, httpUrl } = server;
        if (output.json) await output.print([JSON.stringify({ server: address, http: httpUrl, keysFile })]);
        else {
          await output.print([
            `Listening on ${address}`,
            ...(httpUrl === undefined ? [] : [`Probes and metrics are on ${httpUrl}`]),
            ...(keysFile === undefined ? [] : [`Keys are in ${keysFile}`]),
          ]);
        }
        const stop = AbortSignal.any([interrupt.signal, server.failed]);
        if (!stop.aborted) await once(stop, "abort");
        if (interrupt.signal.aborted) output.note("Stopping: calls in progress may finish. A second signal quits at once.");
        await server.close();
        endAnyway(log);
        process.off("SIGHUP", onHangUp);
        interrupt.dispose();
        server.failed.throwIfAborted();
        return 0;
      }),
    );
}

/** Nothing is worked on any more: a timer or a socket that was forgotten must not keep the process, which its supervisor would have to kill. */
function endAnyway(log: Logger): void {
  const end = () => {
    log.warn({ resources: process.getActiveResourcesInfo() }, "the server has stopped, and something keeps its process: it ends now");
    process.exit();
  };
  setTimeout(end, leftoverMs).unref();
}
