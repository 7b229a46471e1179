/** Opens the ports, and has the calls that come in answered. */

import { FailedAuthentications } from "../limits/failed-authentications.js";
import { LargeMessages } from "../limits/large-messages.js";
import { addJobMetrics } from "../metrics/job-metrics.js";
import { addShareMetrics } from "../metrics/share-metrics.js";
import type { ServerDeps } from "../rpc/context.js";
import { registerServices } from "../rpc/routes.js";
import { KeyLookups } from "../tenancy/key-lookups.js";
import type { Tokens } from "../tenancy/tokens/tokens.js";
import { createRequestHandler } from "./adapter.js";
import { admission, admit } from "./admission.js";
import { Connections } from "./connections.js";
import { guard } from "./guard.js";
import { type HttpServer, listen } from "./http.js";
import { type HttpPort, openHttpPort } from "./http-port.js";
import { identification } from "./identify.js";
import type { TlsReloader } from "./tls.js";
import { UnknownSockets } from "./unknown-sockets.js";

export interface Listeners {
  http: HttpServer;
  /** For probes, metrics and calls over HTTP/1.1; undefined: there is none. */
  httpPort: HttpPort | undefined;
}

/** Throws an Error that names the setting of a port that cannot be opened; nothing is left open then. */
export async function serve(deps: ServerDeps, tls: TlsReloader | undefined, tokens: Tokens | undefined): Promise<Listeners> {
  const { config, log, metrics, health } = deps;
  const { limits } = config;
  const failed = new FailedAuthentications({ perMinute: limits.failedAuthenticationsPerMinute });
  const identify = identification({ keys: new KeyLookups(deps.authenticationPool), tokens, failed });
  const connections = new Connections(
    {
      keepaliveMs: config.keepaliveMs,
      maxAgeMs: config.connectionMaxAgeMs,
      idleMs: limits.connectionIdleMs,
      unknownMs: limits.requestMs,
      unknownPerAddress: limits.unknownConnectionsPerAddress,
    },
    log,
  );
  const unknownSockets = new UnknownSockets(limits.unknownConnectionsPerAddress, log);
  const handle = createRequestHandler({
    routes: (router) => registerServices(router, deps),
    interceptors: [guard(log, metrics, { slowMs: config.slowCallMs, values: config.logPaths }), admission({ log, metrics })],
    shutdownSignal: deps.shutdownSignal,
    log,
    clientCertificates: config.tls?.clientCa !== undefined,
    admit: admit({ identify, openCalls: deps.openCalls }),
    largeMessages: new LargeMessages(),
    onKnown: (request) => ("stream" in request ? connections.known(request.stream) : unknownSockets.known(request.socket)),
    callDeadlineMs: limits.callDeadlineMs,
    requestMs: limits.requestMs,
  });
  const http = await listen({ address: config.listen, handle, tls, connections, unknownSockets, log });
  measure(deps, http, tls);
  if (config.httpListen === undefined) return { http, httpPort: undefined };
  try {
    const { httpListen: address, corsOrigins, metricsKeyFile } = config;
    const { requestMs } = limits;
    return {
      http,
      httpPort: await openHttpPort({ address, handle, health, metrics, metricsKeyFile, tls, corsOrigins, unknownSockets, requestMs, log }),
    };
  } catch (error) {
    http.destroy();
    throw error;
  }
}

/** What is known here alone. */
function measure({ metrics, health, pool, log }: ServerDeps, http: HttpServer, tls: TlsReloader | undefined): void {
  addShareMetrics(metrics, pool, log);
  addJobMetrics(metrics, pool, log);
  metrics.gauge("frostline_serving", "1 when health is SERVING, else 0.", () => (health.state.serving ? 1 : 0));
  metrics.gauge("frostline_connections", "HTTP/2 connections.", http.connections);
  metrics.gauge("frostline_open_streams", "HTTP/2 streams, until they are closed.", http.openCalls);
  if (tls === undefined) return;
  const expires = () => tls.current().expires.getTime() / 1000;
  metrics.gauge("frostline_tls_certificate_expiry_seconds", "When the server's certificate expires, in seconds since 1970.", expires);
}
