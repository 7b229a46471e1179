/** Connect's handlers on node:http2. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { TLSSocket } from "node:tls";
import { type ConnectRouter, createConnectRouter, createContextValues, type Interceptor } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import type { Logger } from "../log.js";
import { clientGone } from "../rpc/errors.js";
import { peerKey } from "./peer.js";

export type NodeRequest = Http2ServerRequest | IncomingMessage;
export type NodeResponse = Http2ServerResponse | ServerResponse;
export type RequestHandler = (request: NodeRequest, response: NodeResponse) => void;

/** The largest message a client may send, compressed or not. */
const readSizeBytesAtMost = 4 * 1024 * 1024;

export interface AdapterOptions {
  routes: (router: ConnectRouter) => void;
  /** The first is the outermost. */
  interceptors: Interceptor[];
  /** Aborts the signals of all calls. */
  shutdownSignal: AbortSignal;
  log: Logger;
  /** Callers must show a certificate. */
  clientCertificates: boolean;
}

/** Answers gRPC, gRPC-Web and Connect requests; anything else is 404. */
export function createRequestHandler(options: AdapterOptions): RequestHandler {
  const router = createConnectRouter({
    interceptors: options.interceptors,
    shutdownSignal: options.shutdownSignal,
    readMaxBytes: readSizeBytesAtMost,
    acceptCompression: [compressionGzip, compressionBrotli],
    // Every gRPC client says that it takes gzip; unasked, a long answer would cost more in gzip than in the database.
    compressMinBytes: Number.MAX_SAFE_INTEGER,
  });
  options.routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  return (request, response) => {
    const handler = handlers.get((request.url ?? "").split("?", 1)[0] as string);
    if (handler === undefined) {
      response.writeHead(404);
      response.end();
      return;
    }
    // What ends up here is a client that went away in the middle of an answer.
    respond(handler, request, response, options.clientCertificates).catch((error: unknown) => {
      options.log.debug({ err: error, method: handler.requestPath }, "an answer could not be sent");
    });
  };
}

async function respond(
  handler: UniversalHandler,
  request: NodeRequest,
  response: NodeResponse,
  clientCertificates: boolean,
): Promise<void> {
  // Of HTTP/2 this is a view of the connection's socket, which may have gone already.
  const { remoteAddress, authorized, authorizationError } = request.socket as Partial<TLSSocket>;
  const refused = clientCertificates && authorized !== true ? String(authorizationError ?? "NO_CERTIFICATE") : undefined;
  const authorizations = countHeader(request, "authorization");
  const context = createContextValues().set(peerKey, { address: remoteAddress, certificateRefused: refused, authorizations });
  const call = universalRequestFromNodeRequest(request, response, undefined, context);
  if (isStream(call.body)) call.body = markGone(call.body, () => isBroken(request));
  const answer = await handler(call);
  await universalResponseToNodeResponse(isStream(answer.body) ? { ...answer, body: markGone(answer.body) } : answer, response);
}

/** `rawHeaders` has names and values in turn. */
function countHeader({ rawHeaders }: NodeRequest, name: string): number {
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) if (rawHeaders[index]?.toLowerCase() === name) count += 1;
  return count;
}

/**
 * Whatever ends the reading of a request, or is thrown into an answer, comes from the connection: the client has gone.
 * Marked here, because the same errors of Node's streams elsewhere mean that the database has. Of a stream that is reset,
 * the reading may also end as if all had been read; `broken` tells.
 */
function markGone(body: AsyncIterable<Uint8Array>, broken: () => boolean = () => false): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const bytes = body[Symbol.asyncIterator]();
      return {
        async next() {
          const result = await bytes.next().catch(gone);
          return result.done === true && broken() ? gone(new Error("the request broke off")) : result;
        },
        throw: (error: unknown) => bytes.throw?.(clientGone(error)) ?? Promise.reject(clientGone(error)),
        return: (value?: unknown) => bytes.return?.(value) ?? Promise.resolve({ done: true, value }),
      };
    },
  };
}

/** While it is read to its end a stream is open: its answer is still to come. */
function isBroken(request: NodeRequest): boolean {
  return "stream" in request ? request.stream.closed || request.stream.destroyed : !request.complete;
}

function gone(error: unknown): never {
  throw clientGone(error);
}

function isStream(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}
