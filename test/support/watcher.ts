/** Watches of warming, as a client has them. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client, createClient } from "../../src/agent/client.js";
import {
  type WarmingEvent,
  WarmingService,
  type WarmingStorm,
  type WatchWarmingRequestSchema,
} from "../../src/gen/frostline/v1/warming_pb.js";
import type { WarmedShare } from "./warmed-share.js";

export type Told =
  | { event: WarmingEvent }
  | { storm: WarmingStorm }
  | { progress: bigint }
  | { behind: { position: bigint; newestPosition: bigint } };

export interface Watcher {
  /** The next message. Rejects when the watch has failed, and when it has ended. */
  next(): Promise<Told>;
  /** The next that is no `progress`. */
  nextNews(): Promise<Exclude<Told, { progress: bigint }>>;
  close(): void;
}

/** Its first message, a `progress`, has been read when it resolves: from its position on everything is told. */
export async function openWatch(
  { server, tenant }: Pick<WarmedShare, "server" | "tenant">,
  request: MessageInitShape<typeof WatchWarmingRequestSchema> = {},
): Promise<Watcher & { position: bigint }> {
  const client = createClient({ server: server.address, key: tenant.keys.reader });
  const watcher = watchOver(client, request);
  const first = await watcher.next().catch((error) => {
    client.close();
    throw error;
  });
  if (!("progress" in first)) throw new Error(`A watch began with ${Object.keys(first)}`);
  const close = () => {
    watcher.close();
    client.close();
  };
  return { ...watcher, close, position: first.progress };
}

/** Over a connection that is there. */
export function watchOver(client: Client, request: MessageInitShape<typeof WatchWarmingRequestSchema>): Watcher {
  const abort = new AbortController();
  const messages = client.serverStream(WarmingService.method.watchWarming, request, { signal: abort.signal })[Symbol.asyncIterator]();
  const next = async (): Promise<Told> => {
    const { value, done } = await messages.next();
    if (done) throw new Error("The watch ended without an error.");
    const { message } = value;
    switch (message.case) {
      case "event":
        return { event: message.value };
      case "storm":
        return { storm: message.value };
      case "progress":
        return { progress: message.value.position };
      case "behind":
        return { behind: message.value };
      default:
        throw new Error("A message without content");
    }
  };
  const nextNews: Watcher["nextNews"] = async () => {
    for (;;) {
      const told = await next();
      if (!("progress" in told)) return told;
    }
  };
  return { next, nextNews, close: () => abort.abort(new Error("The test has read enough.")) };
}
