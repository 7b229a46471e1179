/** The body of a request, on its way from Node to Connect. */

import type { IncomingMessage } from "node:http";
import type { Http2ServerRequest } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import { clientGone } from "../rpc/errors.js";

export function isStream(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}

/**
 * Whatever ends the reading of a request, or is thrown into an answer, comes from the connection: the client has gone.
 * Marked here, because the same errors of Node's streams elsewhere mean that the database has. Of a stream that is reset,
 * the reading may also end as if all had been read; `broken` tells.
 */
export function markGone(body: AsyncIterable<Uint8Array>, broken: () => boolean = () => false): AsyncIterable<Uint8Array> {
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
export function isBroken(request: Http2ServerRequest | IncomingMessage): boolean {
  return "stream" in request ? request.stream.closed || request.stream.destroyed : !request.complete;
}

function gone(error: unknown): never {
  throw clientGone(error);
}

/** Reading it fails with DEADLINE_EXCEEDED unless all of it is there within so long: who sends it drop by drop holds a call's place. */
export function inTime(body: AsyncIterable<Uint8Array>, withinMs: number): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const bytes = body[Symbol.asyncIterator]();
      const untilMs = performance.now() + withinMs;
      return {
        next: () => before(untilMs, bytes.next()),
        return: (value?: unknown) => bytes.return?.(value) ?? Promise.resolve({ done: true, value }),
      };
    },
  };
}

async function before<T>(untilMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new ConnectError("The request did not arrive in time. Send it as a whole, at once.", Code.DeadlineExceeded);
    timer = setTimeout(() => reject(error), Math.max(0, untilMs - performance.now()));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

const encodings = ["content-encoding", "content-length", "grpc-encoding", "connect-content-encoding", "grpc-timeout", "connect-timeout-ms"];

/** A request that is refused, whatever it is: its body, which nobody reads, is replaced by an empty message that Connect can decode. */
export function withoutBody(request: UniversalServerRequest): UniversalServerRequest {
  const header = new Headers(request.header);
  for (const name of encodings) header.delete(name);
  const type = header.get("content-type") ?? "";
  const message = /[+/]json\b/.test(type) ? Buffer.from("{}") : Buffer.alloc(0);
  const isFramed = /^application\/(grpc|connect)/.test(type);
  const body = isFramed ? Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]) : message;
  return { ...request, header, body: of(body) };
}

async function* of(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
