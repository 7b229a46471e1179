/** A connection to the server's TierService, with the key on each call. */
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { TierService } from "../../src/gen/frostline/v1/tier_pb.js";

export interface TierConnection {
  client: Client<typeof TierService>;
  close(): void;
}

/** `server`: host:port. Connects at the first call. */
export function connectTierService(server: string, key: string): TierConnection {
  const baseUrl = `http://${server}`;
  const sessionManager = new Http2SessionManager(baseUrl);
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${key}`);
    return next(request);
  };
  const transport = createGrpcTransport({ baseUrl, sessionManager, interceptors: [authorize], defaultTimeoutMs: 60_000 });
  return { client: createClient(TierService, transport), close: () => sessionManager.abort() };
}
