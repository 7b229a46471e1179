/** The HTTP/2 listener: its limits, its open calls, and how it drains. */
import { once } from "node:events";
import {
  constants,
  createServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import type { ListenAddress } from "../config.js";
import type { Logger } from "../log.js";

/** What a client may have on its way unread: by stream, and by connection. Memory is bounded by connections times the latter. */
const streamWindowBytes = 1024 * 1024;
const connectionWindowBytes = 4 * 1024 * 1024;
const streamsPerConnection = 100;
const connectionsAtMost = 500;
/** Node's own accounting of a connection; its default of 10 refuses streams while the windows above are in use. */
const sessionMemoryMb = 64;
const tcpKeepAliveMs = 60_000;
/** Between the end of an answer and the closing of a stream whose request was not read to its end. At once, trailers are lost. */
const closeDelayMs = 100;

export interface HttpServer {
  /** host:port as bound. */
  address: string;
  /** Calls whose stream is not closed yet. */
  openCalls(): number;
  /** Accepts nothing more, and tells clients to go elsewhere; calls in progress go on. Resolves when the last is over. */
  drain(): Promise<void>;
  /** Breaks whatever is still open. */
  destroy(): void;
}

/** Listens for HTTP/2 without TLS. */
export async function listen(
  address: ListenAddress,
  handle: (request: Http2ServerRequest, response: Http2ServerResponse) => void,
  log: Logger,
): Promise<HttpServer> {
  const sessions = new Set<ServerHttp2Session>();
  const streams = new Set<ServerHttp2Stream>();
  const server = createServer({
    settings: { initialWindowSize: streamWindowBytes, maxConcurrentStreams: streamsPerConnection },
    maxSessionMemory: sessionMemoryMb,
  });
  server.maxConnections = connectionsAtMost;
  server.on("connection", (socket) => socket.setKeepAlive(true, tcpKeepAliveMs));
  server.on("session", (session) => {
    sessions.add(session);
    session.setLocalWindowSize(connectionWindowBytes);
    session.once("close", () => sessions.delete(session));
  });
  server.on("sessionError", (error) => log.debug({ err: error }, "a connection broke"));
  server.on("request", (request, response) => {
    streams.add(response.stream);
    response.stream.once("close", () => streams.delete(response.stream));
    closeAfterAnswer(response.stream);
    handle(request, response);
  });
  server.listen(address.port, address.host);
  await once(server, "listening").catch((error: NodeJS.ErrnoException) => {
    throw new Error(`Cannot listen on ${address.host}:${address.port} (${error.code}). Stop what uses it, or set FROSTLINE_LISTEN.`, {
      cause: error,
    });
  });
  return {
    address: formatAddress(server.address() as AddressInfo),
    openCalls: () => streams.size,
    drain: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const session of sessions) session.close();
      }),
    destroy: () => {
      server.close();
      for (const session of sessions) session.destroy();
    },
  };
}

/**
 * A call that is answered before its request was read to the end leaves its stream open, for ever if the client goes on
 * sending. One that either side has closed stays as well, as long as something that was sent lies in it unread.
 */
function closeAfterAnswer(stream: ServerHttp2Stream): void {
  // The stream's own event: the response emits its "finish" only when the stream is closed.
  stream.once("finish", () => {
    setTimeout(() => {
      if (!stream.closed) stream.close(constants.NGHTTP2_NO_ERROR);
      stream.destroy();
    }, closeDelayMs).unref();
  });
  stream.once("aborted", () => stream.destroy());
}

function formatAddress({ address, family, port }: AddressInfo): string {
  return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
}
