/** `serve`: the server, until a signal stops it. */
import { once } from "node:events";
import * as path from "node:path";
import type { Command } from "commander";
import { action } from "./command.js";
import { catchInterrupt } from "./interrupt.js";

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
        const server = await startServer({ config, log: createLogger(config.logLevel, { values: config.logPaths }) });
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
        process.off("SIGHUP", onHangUp);
        interrupt.dispose();
        server.failed.throwIfAborted();
        return 0;
      }),
    );
}
