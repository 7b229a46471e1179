/** The sending side of a client-streaming call, with back-pressure. */
import type { Client as GrpcClient, Metadata } from "@grpc/grpc-js";
import { toRpcError } from "./rpc-error.js";
import type { Servers } from "./servers.js";

export interface ClientStream<Request, Response> {
  /** Resolves when the transport wants more. Rejects once the call has failed. */
  send(message: Request): Promise<void>;
  /** Ends the sending side and waits for the answer. */
  finish(): Promise<Response>;
  /** Gives the call up; nothing if it has ended. */
  cancel(): void;
}

interface MethodCodec<Request, Response> {
  path: string;
  serialize(message: Request): Buffer;
  deserialize(bytes: Buffer): Response;
}

/** Messages handed to the transport and not yet taken by it: one on its way, one ready. */
const unsentAtMost = 2;

/** Opens the call, once a server is chosen. Until then, and whatever comes of it, the stream can be used. */
export function openClientStream<Request, Response>(
  servers: Servers,
  metadata: Metadata,
  codec: MethodCodec<Request, Response>,
  signal: AbortSignal | undefined,
): ClientStream<Request, Response> {
  const opening = servers
    .choose(signal)
    .then((channel) => openCall(channel, metadata, codec, signal, (error) => servers.failed(channel, error)));
  // Whoever sends or finishes sees the failure.
  opening.catch(() => {});
  return {
    send: async (message) => (await opening).send(message),
    finish: async () => (await opening).finish(),
    cancel: () => void opening.then((call) => call.cancel()).catch(() => {}),
  };
}

function openCall<Request, Response>(
  channel: GrpcClient,
  metadata: Metadata,
  codec: MethodCodec<Request, Response>,
  signal: AbortSignal | undefined,
  /** Not by a cancellation of ours. */
  onFailed: (error: unknown) => void,
): ClientStream<Request, Response> {
  signal?.throwIfAborted();
  const { promise: answer, resolve, reject } = promiseWithResolvers<Response>();
  // Whoever sends or finishes sees the failure; until then nobody waits for it.
  answer.catch(() => {});
  let unsent = 0;
  let ended: "no" | "finished" | "failed" | "answered" = "no";
  let wake: (() => void) | undefined;
  let cancelled = false;

  const call = channel.makeClientStreamRequest<Request, Response>(
    codec.path,
    codec.serialize,
    codec.deserialize,
    metadata,
    (error, response) => {
      signal?.removeEventListener("abort", cancel);
      if (error === null && response !== undefined) {
        ended = "answered";
        resolve(response);
      } else {
        ended = "failed";
        const failure = toRpcError(error);
        if (!cancelled) onFailed(failure);
        reject(signal?.aborted ? signal.reason : failure);
      }
      wake?.();
    },
  );
  const cancel = () => {
    cancelled = true;
    call.cancel();
  };
  signal?.addEventListener("abort", cancel, { once: true });
  // The status of the call says more than the stream's error, and comes with it.
  call.on("error", () => {});

  const taken = () => {
    unsent--;
    wake?.();
  };
  return {
    async send(message) {
      if (ended === "no") {
        unsent++;
        call.write(message, taken);
        while (unsent >= unsentAtMost && ended === "no") {
          await new Promise<void>((done) => {
            wake = done;
          });
        }
      }
      if (ended === "failed") await answer;
      if (ended !== "no") throw new Error("A message was sent on a call that has ended.");
    },
    finish() {
      if (ended === "no") {
        ended = "finished";
        call.end();
      }
      return answer;
    },
    cancel,
  };
}

function promiseWithResolvers<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
