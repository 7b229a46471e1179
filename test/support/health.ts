/** What a server says of its own health, as a load balancer hears it. */
import { createClient } from "../../src/agent/client.js";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../src/gen/grpc/health/v1/health_pb.js";

/** Resolves once the server is watched; what it resolves with does so when the server says that it takes no more. */
export async function watchHealth(address: string): Promise<{ notServing: Promise<void> }> {
  const client = createClient({ server: address, key: "" });
  const statuses = client.serverStream(Health.method.watch, {})[Symbol.asyncIterator]();
  const first = await statuses.next();
  if (first.value?.status !== Status.SERVING) throw new Error(`${address} is not serving.`);
  const notServing = async () => {
    for (let next = first; next.value?.status !== Status.NOT_SERVING; next = await statuses.next()) {
      if (next.done) throw new Error(`${address} ended the watch before it said that it takes no more.`);
    }
    client.close();
  };
  return { notServing: notServing() };
}
