/** The addresses of one installation: calls go to one of them, and to the next when it fails. */
import { connectivityState, type Client as GrpcClient } from "@grpc/grpc-js";
import { isConnectionLost } from "./retry.js";

export interface ServerAddress {
  /** `host:port` */
  target: string;
  /** TLS is spoken there. */
  secure: boolean;
}

/**
 * What `--server` says: `host:port` in plaintext, `https://host:port` with TLS, or several of one kind with commas between them.
 * Throws an Error when one is empty, or when only some are with TLS: a key would go out in the clear by a slip of the pen.
 */
export function parseServers(servers: string): [ServerAddress, ...ServerAddress[]] {
  const [first, ...others] = servers.split(",").map((server) => parseServer(server.trim()));
  if (first === undefined || [first, ...others].some(({ target }) => target === "")) {
    throw new Error(`"${servers}" has an address that is empty. Write host:port, or several with commas between them.`);
  }
  if (others.some(({ secure }) => secure !== first.secure)) {
    throw new Error(`"${servers}" is with TLS only in part. Write https:// before each address, or before none.`);
  }
  return [first, ...others];
}

function parseServer(server: string): ServerAddress {
  const [, scheme, target] = /^(https?):\/\/([^/]+)\/?$/.exec(server) ?? [];
  return target === undefined ? { target: server, secure: false } : { target, secure: scheme === "https" };
}

export interface Servers {
  /**
   * The one to call: where the last call went well, or the next that can be connected to. When none can, one of them, so that the call says why.
   * Nothing has been sent by then, so any call may be made. Rejects with the signal's reason.
   */
  choose(signal: AbortSignal | undefined): Promise<GrpcClient>;
  /** A call there has failed: if its server is stopping, not ready, or gone, the next call goes to the next one. */
  failed(channel: GrpcClient, error: unknown): void;
  close(): void;
}

/** For one address to be connected to, in ms; where nothing answers, the system would try for minutes. */
const connectMs = 5_000;

export function createServers(channels: [GrpcClient, ...GrpcClient[]]): Servers {
  const [only, ...others] = channels;
  const close = () => {
    for (const channel of channels) channel.close();
  };
  // The transport connects, and waits to do it again, by itself.
  if (others.length === 0) return { choose: async () => only, failed: () => {}, close };
  let current = 0;
  const at = (index: number) => channels[index % channels.length] as GrpcClient;
  return {
    async choose(signal) {
      const first = current;
      for (let n = first; n < first + channels.length; n++) {
        if (!(await connects(at(n), signal))) continue;
        current = n % channels.length;
        return at(n);
      }
      return at(current);
    },
    failed(channel, error) {
      if (at(current) === channel && isConnectionLost(error)) current = (current + 1) % channels.length;
    },
    close,
  };
}

/** False when it cannot be connected to, or lately could not: it is tried again behind the scenes, up to every 5 s. */
async function connects(client: GrpcClient, signal: AbortSignal | undefined): Promise<boolean> {
  const channel = client.getChannel();
  const untilMs = Date.now() + connectMs;
  for (;;) {
    signal?.throwIfAborted();
    const state = channel.getConnectivityState(true);
    if (state === connectivityState.READY) return true;
    if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN || Date.now() >= untilMs) return false;
    await new Promise<void>((resolve) => {
      const done = () => {
        signal?.removeEventListener("abort", done);
        resolve();
      };
      signal?.addEventListener("abort", done, { once: true });
      channel.watchConnectivityState(state, untilMs, done);
    });
  }
}
