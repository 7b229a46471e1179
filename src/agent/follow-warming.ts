/** A watch of warming that goes on over broken connections and stopped servers. */
import { WarmingService, type WatchWarmingResponse } from "../gen/frostline/v1/warming_pb.js";
import type { Client } from "./client.js";
import { createRetrier, defaultRetryPolicy } from "./retry.js";
import { RpcError } from "./rpc-error.js";

export interface FollowOptions {
  /** Empty: all shares. */
  shareName: string;
  /** Undefined: from now on. */
  afterPosition: bigint | undefined;
  /** Ends it; the iteration then throws the signal's reason. */
  signal: AbortSignal;
  /** The watch broke and will be resumed behind `position`; undefined: it never began. */
  onBroken: (error: unknown, position: bigint | undefined) => void;
}

/** Every message of the server's, none lost and none twice, for ever. Throws a final RpcError. */
export async function* followWarming(client: Client, options: FollowOptions): AsyncGenerator<WatchWarmingResponse> {
  const { shareName, signal, onBroken } = options;
  const retrier = createRetrier({ ...defaultRetryPolicy, maxElapsedMs: Number.POSITIVE_INFINITY }, signal);
  let position = options.afterPosition;
  for (;;) {
    try {
      const request = { shareName, ...(position === undefined ? {} : { afterPosition: position }) };
      for await (const response of client.serverStream(WarmingService.method.watchWarming, request, { signal })) {
        retrier.progressed();
        const { case: kind, value } = response.message;
        if (kind !== undefined) position = value.position;
        yield response;
      }
      throw new RpcError("UNAVAILABLE", "The watch ended, though nobody ended it: a proxy may, when it has been open for long.");
    } catch (error) {
      signal.throwIfAborted();
      onBroken(error, position);
      await retrier.wait(error);
    }
  }
}
