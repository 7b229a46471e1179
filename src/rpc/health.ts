/** grpc.health.v1.Health */
import type { DescService } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { DomainError } from "../errors.js";
import { HealthCheckResponse_ServingStatus, type Health as HealthService } from "../gen/grpc/health/v1/health_pb.js";
import type { HealthState } from "../health/health.js";
import type { ServerDeps } from "./context.js";

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

/** All services need the same database, so they are well or not together; only names that do not exist are told apart. */
export function healthService(
  { health, shutdownSignal }: Pick<ServerDeps, "health" | "shutdownSignal">,
  services: readonly DescService[],
): ServiceImpl<typeof HealthService> {
  const names = new Set(["", ...services.map(({ typeName }) => typeName)]);
  return {
    check({ service }) {
      if (!names.has(service)) {
        throw new DomainError(
          "NOT_FOUND",
          `This server has no service ${JSON.stringify(service)}. Leave the name empty for the whole server.`,
          {
            reason: "SERVICE_UNKNOWN",
          },
        );
      }
      return { status: statusOf(health.state) };
    },
    async *watch({ service }, call) {
      const signal = AbortSignal.any([call.signal, shutdownSignal]);
      for await (const state of health.watch(signal)) yield { status: names.has(service) ? statusOf(state) : SERVICE_UNKNOWN };
      if (!call.signal.aborted) {
        throw new DomainError("UNAVAILABLE", "The server is stopping. Watch another one.", { reason: "SERVER_DRAINING" });
      }
    },
  };
}

function statusOf({ serving }: HealthState) {
  return serving ? SERVING : NOT_SERVING;
}
