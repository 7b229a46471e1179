/** Connect's handlers on node:http2. */
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { type ConnectRouter, createConnectRouter, type Interceptor } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import type { Logger } from "../log.js";

/** The largest message a client may send, compressed or not. */
const readSizeBytesAtMost = 4 * 1024 * 1024;

export interface AdapterOptions {
  routes: (router: ConnectRouter) => void;
  /** The first is the outermost. */
  interceptors: Interceptor[];
  /** Aborts the signals of all calls. */
  shutdownSignal: AbortSignal;
  log: Logger;
}

/** Answers gRPC, gRPC-Web and Connect requests; anything else is 404. */
export function createRequestHandler(options: AdapterOptions): (request: Http2ServerRequest, response: Http2ServerResponse) => void {
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
    const handler = handlers.get(request.url.split("?", 1)[0] as string);
    if (handler === undefined) {
      response.writeHead(404);
      response.end();
      return;
    }
    // What ends up here is a client that went away in the middle of an answer.
    respond(handler, request, response).catch((error: unknown) => {
      options.log.debug({ err: error, method: handler.requestPath }, "an answer could not be sent");
    });
  };
}

async function respond(handler: UniversalHandler, request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
  const answer = await handler(universalRequestFromNodeRequest(request, response, undefined, undefined));
  await universalResponseToNodeResponse(answer, response);
}
