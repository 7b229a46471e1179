/** A client of the server's gRPC services, typed by the generated descriptors. */
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type CallOptions, type ChannelOptions, credentials, Client as GrpcClient, Metadata } from "@grpc/grpc-js";
import { type ClientStream, openClientStream } from "./client-stream.js";
import { toRpcError } from "./rpc-error.js";
import { createServers, parseServers, type ServerAddress, type Servers } from "./servers.js";

export type { ClientStream } from "./client-stream.js";

export interface ClientOptions {
  /** `host:port` in plaintext, `https://host:port` with TLS; several with commas between them, of which one is called, and the next when it fails. */
  server: string;
  /** With TLS only. */
  tls?: ClientTls;
  /** API key or token, sent as `authorization: Bearer`. */
  key: string;
}

/** PEM. */
export interface ClientTls {
  /** Whose signature under the server's certificate is trusted; undefined: the authorities that Node knows. */
  ca?: Buffer;
  /** For a server that asks for a client certificate. */
  certificate?: { cert: Buffer; key: Buffer };
}

export interface UnaryOptions {
  /** Ends the call; it then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Deadline, in ms. Default 60,000. */
  timeoutMs?: number;
}

/** Calls reject with RpcError when the server, or the way to it, fails; with the signal's reason when it was aborted. */
export interface Client {
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options?: UnaryOptions,
  ): Promise<MessageShape<O>>;
  /** Leaving the loop early ends the call. A slow reader holds the server back. */
  serverStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    options?: { signal?: AbortSignal },
  ): AsyncIterable<MessageShape<O>>;
  clientStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodClientStreaming<I, O>,
    options?: { signal?: AbortSignal },
  ): ClientStream<MessageInitShape<I>, MessageShape<O>>;
  /** Ends the connection and every call on it. */
  close(): void;
}

const defaultTimeoutMs = 60_000;
/** The server's own limit for a message is 4 MiB; a little more for what wraps it. */
const messageBytesAtMost = 4 * 1024 * 1024 + 64 * 1024;

const channelOptions: ChannelOptions = {
  "grpc.max_receive_message_length": messageBytesAtMost,
  "grpc.max_send_message_length": messageBytesAtMost,
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 20_000,
  "grpc.keepalive_permit_without_calls": 0,
  // A restarted server is found again within seconds; the default grows to two minutes.
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 5_000,
  // Whatever fits in the retry buffer is called sent while it still waits: that hides back-pressure. Small requests may be retried.
  "grpc.enable_retries": 0,
  "grpc.per_rpc_retry_buffer_size": 16 * 1024,
  // HTTP/2's 64 KiB halves a snapshot's speed on a link with latency.
  "grpc-node.flow_control_window": 1024 * 1024,
};

/** Connects at the first call, not before. Throws an Error when `server` is none, see parseServers. */
export function createClient(options: ClientOptions): Client {
  const [first, ...others] = parseServers(options.server);
  const open = ({ target, secure }: ServerAddress) =>
    new GrpcClient(target, secure ? secureCredentials(options.tls) : credentials.createInsecure(), channelOptions);
  const servers = createServers([open(first), ...others.map(open)]);
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${options.key}`);
  return {
    unary: (method, request, unaryOptions) => callUnary(servers, metadata, method, request, unaryOptions),
    serverStream: (method, request, streamOptions) => callServerStream(servers, metadata, method, request, streamOptions?.signal),
    clientStream: (method, streamOptions) =>
      openClientStream(servers, metadata, { path: pathOf(method), ...codecOf(method) }, streamOptions?.signal),
    close: servers.close,
  };
}

function secureCredentials(tls: ClientTls = {}) {
  return credentials.createSsl(tls.ca ?? null, tls.certificate?.key ?? null, tls.certificate?.cert ?? null);
}

async function callUnary<I extends DescMessage, O extends DescMessage>(
  servers: Servers,
  metadata: Metadata,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  { signal, timeoutMs = defaultTimeoutMs }: UnaryOptions = {},
): Promise<MessageShape<O>> {
  const { serialize, deserialize } = codecOf(method);
  const channel = await servers.choose(signal);
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const options: CallOptions = { deadline: Date.now() + timeoutMs };
    const call = channel.makeUnaryRequest(pathOf(method), serialize, deserialize, request, metadata, options, (error, response) => {
      signal?.removeEventListener("abort", cancel);
      if (response !== undefined && error === null) return resolve(response);
      if (signal?.aborted) return reject(signal.reason);
      const failure = toRpcError(error);
      servers.failed(channel, failure);
      reject(failure);
    });
    const cancel = () => call.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
  });
}

async function* callServerStream<I extends DescMessage, O extends DescMessage>(
  servers: Servers,
  metadata: Metadata,
  method: DescMethodServerStreaming<I, O>,
  request: MessageInitShape<I>,
  signal: AbortSignal | undefined,
): AsyncGenerator<MessageShape<O>> {
  const channel = await servers.choose(signal);
  signal?.throwIfAborted();
  const { serialize, deserialize } = codecOf(method);
  const call = channel.makeServerStreamRequest(pathOf(method), serialize, deserialize, request, metadata);
  const cancel = () => call.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    for await (const message of call) yield message as MessageShape<O>;
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    const failure = toRpcError(error);
    servers.failed(channel, failure);
    throw failure;
  } finally {
    signal?.removeEventListener("abort", cancel);
    // Without this a reader that left early would leave the server sending. No effect on a call that has ended.
    call.cancel();
  }
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function codecOf<I extends DescMessage, O extends DescMessage>(method: DescMethod & { input: I; output: O }) {
  return {
    serialize(message: MessageInitShape<I>): Buffer {
      const bytes = toBinary(method.input, create(method.input, message));
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    deserialize: (bytes: Buffer): MessageShape<O> => fromBinary(method.output, bytes),
  };
}
