/** The second port: probes, metrics, and the same calls over HTTP/1.1, for browsers and curl. */

import type { ServerResponse } from "node:http";
import * as http from "node:http";
import * as https from "node:https";
import type { Socket } from "node:net";
import { cors } from "@connectrpc/connect";
import { isLoopback, type ListenAddress } from "../config.js";
import type { Health } from "../health/health.js";
import type { Logger } from "../log.js";
import type { Metrics } from "../metrics/metrics.js";
import type { RequestHandler } from "./adapter.js";
import { bind, clientCertificates } from "./http.js";
import { mayReadMetrics, readMetricsKey } from "./metrics-key.js";
import { requestIdHeader } from "./request-id.js";
import type { TlsReloader } from "./tls.js";
import type { UnknownSockets } from "./unknown-sockets.js";

const connectionsAtMost = 500;
/** How often Node looks for connections whose headers are late; its own is half a minute. */
const lateCheckMs = 1000;
/** Node's own, for all of a request: the least, as headers may not have longer. */
const leastRequestTimeoutMs = 300_000;
/** Browsers ask again whether they may call, no sooner. */
const preflightSeconds = 7200;

export interface HttpPortOptions {
  address: ListenAddress;
  /** Calls, by their path. */
  handle: RequestHandler;
  health: Health;
  metrics: Metrics;
  /** Its secret is asked for by `/metrics`; undefined: none is. */
  metricsKeyFile: string | undefined;
  /** As on the main port. Probes and metrics need no client certificate, calls do. */
  tls: TlsReloader | undefined;
  /** Web pages of these may call. */
  corsOrigins: readonly string[];
  unknownSockets: UnknownSockets;
  /** In which a request's headers must arrive, and a new connection's first. */
  requestMs: number;
  log: Logger;
}

export interface HttpPort {
  /** http://host:port or https://host:port, as bound. */
  url: string;
  /** Accepts nothing more; resolves when the last answer is out. */
  drain(): Promise<void>;
  destroy(): void;
}

export async function openHttpPort(options: HttpPortOptions): Promise<HttpPort> {
  const { tls, log, metricsKeyFile, unknownSockets, requestMs } = options;
  if (metricsKeyFile !== undefined) await readMetricsKey(metricsKeyFile);
  else if (!isLoopback(options.address.host)) {
    log.warn(
      "whoever reaches the HTTP port may read its metrics, which name tenants and shares; FROSTLINE_METRICS_KEY_FILE asks for a secret",
    );
  }
  const timing = {
    headersTimeout: requestMs,
    requestTimeout: Math.max(requestMs, leastRequestTimeoutMs),
    connectionsCheckingInterval: lateCheckMs,
  };
  const server = tls === undefined ? http.createServer(timing) : createTlsServer(tls, timing);
  server.maxConnections = connectionsAtMost;
  server.on("connection", (socket: Socket) => unknownSockets.add(socket));
  let draining = false;
  server.on("request", (request, response) => {
    // A connection that is kept would hold the end up until it is idle for long enough.
    if (draining) response.setHeader("connection", "close");
    answer(options, request, response).catch((error: unknown) => {
      log.error({ err: error, path: pathOf(request) }, "the HTTP port failed to answer");
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  server.on("tlsClientError", (error: Error) => log.debug({ err: error }, "a TLS handshake failed"));
  const bound = await bind(server, options.address, "FROSTLINE_HTTP_LISTEN");
  return {
    url: `${tls === undefined ? "http" : "https"}://${bound}`,
    drain: () =>
      new Promise((resolve) => {
        draining = true;
        server.close(() => resolve());
      }),
    destroy: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function createTlsServer(tls: TlsReloader, timing: http.ServerOptions): https.Server {
  const { cert, key, ca } = tls.current();
  const server = https.createServer({ ...timing, ...clientCertificates(ca), cert, key });
  tls.onChange((now) => server.setSecureContext({ cert: now.cert, key: now.key, ...(now.ca === undefined ? {} : { ca: now.ca }) }));
  return server;
}

async function answer(options: HttpPortOptions, request: http.IncomingMessage, response: ServerResponse): Promise<void> {
  const path = pathOf(request);
  if (request.method === "GET" && path === "/livez") return send(response, 200, "text/plain", "ok\n");
  if (request.method === "GET" && path === "/readyz") {
    const { serving, reason } = options.health.state;
    return send(response, serving ? 200 : 503, "text/plain", serving ? "ok\n" : `not ready: ${reason}\n`);
  }
  if (request.method === "GET" && path === "/metrics") {
    if (!(await mayReadMetrics(options.metricsKeyFile, request.headers.authorization))) {
      response.setHeader("www-authenticate", "Bearer");
      return send(response, 401, "text/plain", "the secret of FROSTLINE_METRICS_KEY_FILE is asked for, as authorization: Bearer\n");
    }
    const { contentType, text } = await options.metrics.read();
    return send(response, 200, contentType, text);
  }
  allowOrigin(options.corsOrigins, request, response);
  if (request.method === "OPTIONS") return send(response, 204, undefined, undefined);
  options.handle(request, response);
}

/** A page of another origin gets no such header, and its browser refuses it the answer. */
function allowOrigin(origins: readonly string[], request: http.IncomingMessage, response: ServerResponse): void {
  const { origin } = request.headers;
  // Whatever is kept of an answer is kept for its origin alone.
  if (origins.length > 0) response.setHeader("vary", "Origin");
  if (origin === undefined || !origins.includes(origin)) return;
  response.setHeader("access-control-allow-origin", origin);
  response.setHeader("access-control-expose-headers", [...cors.exposedHeaders, requestIdHeader].join(", "));
  if (request.method !== "OPTIONS") return;
  response.setHeader("access-control-allow-methods", cors.allowedMethods.join(", "));
  response.setHeader(
    "access-control-allow-headers",
    [...cors.allowedHeaders, "Authorization", requestIdHeader, "traceparent", "tracestate"].join(", "),
  );
  response.setHeader("access-control-max-age", preflightSeconds);
}

function send(response: ServerResponse, status: number, contentType: string | undefined, body: string | undefined): void {
  response.writeHead(status, contentType === undefined ? {} : { "content-type": contentType });
  response.end(body);
}

function pathOf(request: http.IncomingMessage): string {
  return (request.url ?? "").split("?", 1)[0] as string;
}
