/** Connect's handlers on node:http2. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { TLSSocket } from "node:tls";
import { type ConnectRouter, createConnectRouter, createContextValues, type Interceptor } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest } from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { LargeMessages } from "../limits/large-messages.js";
import type { Logger } from "../log.js";
import { type Admit, admissionKey } from "./admission.js";
import { type Peer, peerKey } from "./peer.js";
import { inTime, isBroken, isStream, markGone, withoutBody } from "./request-body.js";
import { readUnaryRequest, requestCompressions } from "./unary-request.js";
import { wholeBody, wholeFrames } from "./whole-frames.js";

export type NodeRequest = Http2ServerRequest | IncomingMessage;
export type NodeResponse = Http2ServerResponse | ServerResponse;
export type RequestHandler = (request: NodeRequest, response: NodeResponse) => void;

/** The largest message a client may send, compressed or not. */
const readSizeBytesAtMost = 4 * 1024 * 1024;
/** ... of a call that needs no key: a name. */
const openReadSizeBytesAtMost = 64 * 1024;

/** A call without a place is answered in this time: a client that takes no answer would keep its stream, and what it has sent. */
const refusalMs = 10_000;

export interface AdapterOptions {
  routes: (router: ConnectRouter) => void;
  /** The first is the outermost. */
  interceptors: Interceptor[];
  /** Aborts the signals of all calls. */
  shutdownSignal: AbortSignal;
  log: Logger;
  /** Callers must show a certificate. */
  clientCertificates: boolean;
  admit: Admit;
  largeMessages: LargeMessages;
  /** Told of each request whose caller has shown a valid key or token. */
  onKnown: (request: NodeRequest) => void;
  /** Of a unary call that names no deadline. */
  callDeadlineMs: number;
  /** In which a request of one message must arrive. */
  requestMs: number;
}

/** Answers gRPC, gRPC-Web and Connect requests; anything else is 404. */
export function createRequestHandler(options: AdapterOptions): RequestHandler {
  const router = createConnectRouter({
    interceptors: options.interceptors,
    shutdownSignal: options.shutdownSignal,
    readMaxBytes: readSizeBytesAtMost,
    acceptCompression: requestCompressions,
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
    if (!hasHost(request)) {
      response.writeHead(400);
      response.end();
      return;
    }
    respond(handler, request, response, options).catch((error: unknown) => {
      const line = { err: error, method: handler.requestPath };
      if (isGone(response)) return options.log.debug(line, "a client went away in the middle of an answer");
      options.log.error(line, "an answer could not be sent");
      response.destroy();
    });
  };
}

/** Connect makes an address of a request before anything else: one without a host, or of a host that is none, would have no answer. */
function hasHost(request: NodeRequest): boolean {
  const host = "authority" in request ? request.authority : request.headers.host;
  return host !== undefined && URL.canParse(request.url ?? "", `http://${host}`);
}

function isGone(response: NodeResponse): boolean {
  return "stream" in response ? response.stream.closed || response.stream.destroyed : response.destroyed;
}

async function respond(handler: UniversalHandler, request: NodeRequest, response: NodeResponse, options: AdapterOptions): Promise<void> {
  const closed = new Promise<void>((resolve) => void response.once("close", resolve));
  const context = createContextValues().set(peerKey, peerOf(request, options.clientCertificates));
  let call = universalRequestFromNodeRequest(request, response, undefined, context);
  // What is no call is answered by the handler, and by no service.
  if (handler.allowedMethods.includes(call.method) && handler.supportedContentType(call.header.get("content-type") ?? "")) {
    const admitted = await options.admit(handler, call);
    context.set(admissionKey, admitted);
    if (admitted.place === undefined) {
      call = withoutBody(call);
      const late = setTimeout(() => response.destroy(), refusalMs).unref();
      void closed.then(() => clearTimeout(late));
    } else {
      void closed.then(() => admitted.place?.letGo());
      if (admitted.caller !== undefined) options.onKnown(request);
      call = await prepare(handler, request, call, options).catch((error: unknown) => {
        context.set(admissionKey, { ...admitted, place: undefined, error });
        return withoutBody(call);
      });
    }
  }
  const answer = await handler(call);
  if (!isStream(answer.body)) return universalResponseToNodeResponse(answer, response);
  const body = markGone(answer.body);
  // Of a stream that closes without an error while it is full, Connect goes on waiting, and what the call holds, its timer too, stays.
  void closed.then(() => endAnswer(body));
  await universalResponseToNodeResponse({ ...answer, body }, response);
}

/** Without effect on one that has come to its end. */
function endAnswer(body: AsyncIterable<Uint8Array>): void {
  // Why it could not be ended is what the call itself ended with, and logged there.
  body[Symbol.asyncIterator]()
    .return?.()
    .catch(() => {});
}

/** Of HTTP/2 the socket is a view of the connection's, which may have gone already. */
function peerOf(request: NodeRequest, clientCertificates: boolean): Peer {
  const { remoteAddress, authorized, authorizationError } = request.socket as Partial<TLSSocket>;
  const refused = clientCertificates && authorized !== true ? String(authorizationError ?? "NO_CERTIFICATE") : undefined;
  return { address: remoteAddress, certificateRefused: refused, authorizations: countHeader(request, "authorization") };
}

/** Sets the time that a call may take, and its request; a unary call's is read. Rejects with what is wrong with it. */
async function prepare(
  { method }: UniversalHandler,
  request: NodeRequest,
  call: UniversalServerRequest,
  options: AdapterOptions,
): Promise<UniversalServerRequest> {
  const { header, contextValues } = call;
  const isUnary = method.methodKind === "unary";
  boundDeadline(header, isUnary ? options.callDeadlineMs : undefined);
  if (!isStream(call.body)) return call;
  const caller = contextValues?.get(admissionKey)?.caller;
  const messageBytesAtMost = caller === undefined ? openReadSizeBytesAtMost : readSizeBytesAtMost;
  const isFramed = /^application\/(grpc|connect\+)/.test(header.get("content-type") ?? "");
  const room = options.largeMessages.room(caller?.tenantId ?? `address ${contextValues?.get(peerKey).address}`);
  const body = markGone(call.body, () => isBroken(request));
  const whole = (isFramed ? wholeFrames : wholeBody)(body, { messageBytesAtMost, room });
  if (isUnary) return readUnaryRequest(method, call, inTime(whole, options.requestMs), messageBytesAtMost);
  return { ...call, body: method.methodKind === "server_streaming" ? inTime(whole, options.requestMs) : whole };
}

/** Milliseconds of gRPC's units, as far as a deadline in them can be too long for Node's timers: beyond 2^31 - 1 ms they go off at once. */
const unitMs: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000 };
const longestMs = 2 ** 31 - 1;
const longest = { "grpc-timeout": `${Math.floor(longestMs / 1000)}S`, "connect-timeout-ms": String(longestMs) };

/** A deadline that is too long becomes the longest there is; where there is none, `fallbackMs` if given. */
function boundDeadline(header: Headers, fallbackMs: number | undefined): void {
  const isGrpc = header.get("content-type")?.startsWith("application/grpc") === true;
  const name = isGrpc ? "grpc-timeout" : "connect-timeout-ms";
  const value = header.get(name);
  if (value === null) {
    if (fallbackMs !== undefined) header.set(name, `${fallbackMs}${isGrpc ? "m" : ""}`);
    return;
  }
  const [, amount, unit = ""] = /^(\d+)([HMS]?)$/.exec(value) ?? [];
  if (amount !== undefined && Number(amount) * (unitMs[unit] ?? 1) > longestMs) header.set(name, longest[name]);
}

/** `rawHeaders` has names and values in turn. */
function countHeader({ rawHeaders }: NodeRequest, name: string): number {
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) if (rawHeaders[index]?.toLowerCase() === name) count += 1;
  return count;
}
