/** The HTTP/2 listener, with TLS or without: its limits, its open calls, and how it drains. */
import { once } from "node:events";
import {
  constants,
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Stream,
  type ServerOptions,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { ListenAddress } from "../config.js";
import type { Logger } from "../log.js";
import type { RequestHandler } from "./adapter.js";
import type { Connections } from "./connections.js";
import type { TlsReloader } from "./tls.js";
import type { UnknownSockets } from "./unknown-sockets.js";

/** What a stream may have on its way unread, until a call on its connection has shown a valid key: HTTP/2's own (connections.ts). */
const unknownWindowBytes = 65_535;
/** Of all streams of a connection what is on the wire; Node gives it back as it comes, so what is unread is bounded by stream alone. */
const connectionWindowBytes = 4 * 1024 * 1024;
const streamsPerConnection = 100;
const connectionsAtMost = 500;
/** Node's own accounting of a connection; its default of 10 refuses streams while the windows above are in use. */
const sessionMemoryMb = 64;
/** Names and values of a request together; nghttp2 resets a stream with more. */
const headerListBytes = 32 * 1024;
/** Frames that break the protocol, and streams opened beyond what is allowed, until a connection is ended; Node's own are 1,000 and 100. */
const invalidFramesAtMost = 100;
const rejectedStreamsAtMost = 100;
/** Node's own is two minutes. */
const handshakeMs = 10_000;
const tcpKeepAliveMs = 60_000;
/** Between the end of an answer and the closing of a stream whose request was not read to its end. */
const closeDelayMs = 100;
/** ... so often, while the end has not gone out, which takes a round of the event loop or two; of a broken connection, or without a window, it never does. */
const closeDelaysAtMost = 10;

export interface HttpServer {
  /** As clients name it: host:port as bound, with `https://` before it when the server has TLS. */
  address: string;
  /** Calls over HTTP/2 whose stream is not closed yet. */
  openCalls(): number;
  /** HTTP/2 connections. */
  connections(): number;
  /** Accepts nothing more, and tells clients to go elsewhere; calls in progress go on. Resolves when the last is over. */
  drain(): Promise<void>;
  /** Breaks whatever is still open. */
  destroy(): void;
}

export interface ListenOptions {
  address: ListenAddress;
  handle: RequestHandler;
  /** Without it, plaintext and HTTP/2 alone; with it, HTTP/1.1 as well, as the client chooses (ALPN). */
  tls: TlsReloader | undefined;
  connections: Connections;
  unknownSockets: UnknownSockets;
  log: Logger;
}

export async function listen({ address, handle, tls, connections, unknownSockets, log }: ListenOptions): Promise<HttpServer> {
  const streams = new Set<ServerHttp2Stream>();
  const server = createListener(tls);
  const http1 = trackHttp1(server);
  server.maxConnections = connectionsAtMost;
  server.on("connection", (socket: Socket) => {
    socket.setKeepAlive(true, tcpKeepAliveMs);
    // In plaintext a connection has a session from the first.
    if (tls !== undefined) unknownSockets.add(socket);
  });
  server.on("session", (session) => {
    session.setLocalWindowSize(connectionWindowBytes);
    unknownSockets.known(session.socket);
    connections.add(session);
  });
  server.on("sessionError", (error) => log.debug({ err: error }, "a connection broke"));
  server.on("tlsClientError", (error: Error) => log.debug({ err: error }, "a TLS handshake failed"));
  server.on("request", (request, response) => {
    // Of HTTP/1.1 there is no stream.
    const stream: ServerHttp2Stream | undefined = response.stream;
    if (stream !== undefined) {
      streams.add(stream);
      connections.called(stream);
      stream.once("close", () => streams.delete(stream));
      closeAfterAnswer(stream);
    }
    handle(request, response);
  });
  const bound = await bind(server, address, "FROSTLINE_LISTEN");
  return {
    address: tls === undefined ? bound : `https://${bound}`,
    openCalls: () => streams.size,
    connections: () => connections.size,
    drain: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        connections.sendAway();
      }),
    destroy: () => {
      server.close();
      connections.destroy();
      for (const socket of http1) socket.destroy();
    },
  };
}

function createListener(tls: TlsReloader | undefined): Http2Server | Http2SecureServer {
  const limits: ServerOptions = {
    settings: { initialWindowSize: unknownWindowBytes, maxConcurrentStreams: streamsPerConnection, maxHeaderListSize: headerListBytes },
    maxSessionMemory: sessionMemoryMb,
    maxSessionInvalidFrames: invalidFramesAtMost,
    maxSessionRejectedStreams: rejectedStreamsAtMost,
  };
  if (tls === undefined) return createServer(limits);
  const { cert, key, ca } = tls.current();
  const server = createSecureServer({ ...limits, ...clientCertificates(ca), cert, key, allowHTTP1: true, handshakeTimeout: handshakeMs });
  tls.onChange((now) => server.setSecureContext({ cert: now.cert, key: now.key, ...(now.ca === undefined ? {} : { ca: now.ca }) }));
  return server;
}

/**
 * Options that ask for a client certificate. One that will not do does not end the handshake, which would tell the client
 * nothing: its calls are answered UNAUTHENTICATED (see authenticate.ts).
 */
export function clientCertificates(ca: string | undefined) {
  return ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: false };
}

function trackHttp1(server: Http2Server | Http2SecureServer): Set<Socket> {
  const sockets = new Set<Socket>();
  server.on("secureConnection", (socket: TLSSocket) => {
    if (socket.alpnProtocol === "h2") return;
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  return sockets;
}

/** Listens; returns host:port as bound. Throws an Error that names the setting. */
export async function bind(
  server: { listen(port: number, host: string): unknown; address(): string | AddressInfo | null } & NodeJS.EventEmitter,
  { host, port }: ListenAddress,
  setting: string,
): Promise<string> {
  server.listen(port, host);
  await once(server, "listening").catch((error: NodeJS.ErrnoException) => {
    throw new Error(`Cannot listen on ${host}:${port} (${error.code}). Stop what uses it, or set ${setting}.`, { cause: error });
  });
  return formatAddress(server.address() as AddressInfo);
}

/**
 * A call that is answered before its request was read to the end leaves its stream open, for ever if the client goes on
 * sending. One that either side has closed stays as well, as long as something that was sent lies in it unread.
 */
function closeAfterAnswer(stream: ServerHttp2Stream): void {
  let left = closeDelaysAtMost;
  const closeSoon = () =>
    void setTimeout(() => {
      // Closing it drops what has not gone yet: on a busy event loop its trailers, and with them a call's status.
      if (!stream.closed && stream.state.localClose !== 1 && left-- > 0) return closeSoon();
      if (!stream.closed) stream.close(constants.NGHTTP2_NO_ERROR);
      stream.destroy();
    }, closeDelayMs).unref();
  // The stream's own event: the response emits its "finish" only when the stream is closed.
  stream.once("finish", closeSoon);
  stream.once("aborted", () => stream.destroy());
}

function formatAddress({ address, family, port }: AddressInfo): string {
  return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
}
