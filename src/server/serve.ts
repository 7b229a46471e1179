/** Opens the ports, and has the calls that come in answered. */
import { addJobMetrics } from "../metrics/job-metrics.js";
import { addShareMetrics } from "../metrics/share-metrics.js";
import type { ServerDeps } from "../rpc/context.js";
import { registerServices } from "../rpc/routes.js";
import type { Tokens } from "../tenancy/tokens/tokens.js";
import { createRequestHandler } from "./adapter.js";
import { authentication } from "./authenticate.js";
import { guard } from "./guard.js";
import { type HttpServer, listen } from "./http.js";
import { type HttpPort, openHttpPort } from "./http-port.js";
import type { TlsReloader } from "./tls.js";

export interface Listeners {
  http: HttpServer;
  /** For probes, metrics and calls over HTTP/1.1; undefined: there is none. */
  httpPort: HttpPort | undefined;
}

/** Throws an Error that names the setting of a port that cannot be opened; nothing is left open then. */
export async function serve(deps: ServerDeps, tls: TlsReloader | undefined, tokens: Tokens | undefined): Promise<Listeners> {
  const { config, log, metrics, health } = deps;
  const handle = createRequestHandler({
    routes: (router) => registerServices(router, deps),
    interceptors: [
      guard(log, metrics, { slowMs: config.slowCallMs, values: config.logPaths }),
      authentication({ pool: deps.pool, tokens, log, metrics }),
    ],
    shutdownSignal: deps.shutdownSignal,
    log,
    clientCertificates: config.tls?.clientCa !== undefined,
  });
  const times = { keepaliveMs: config.keepaliveMs, maxAgeMs: config.connectionMaxAgeMs };
  const http = await listen({ address: config.listen, handle, tls, times, log });
  measure(deps, http, tls);
  if (config.httpListen === undefined) return { http, httpPort: undefined };
  try {
    const { httpListen: address, corsOrigins, metricsKeyFile } = config;
    return { http, httpPort: await openHttpPort({ address, handle, health, metrics, metricsKeyFile, tls, corsOrigins, log }) };
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
