/** The server, as a mover sees it: three calls of TierService. Knows nothing but the contract. */
import { setTimeout as delay } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  type TierAction,
  type TierClaim,
  TierReportCode,
  type TierReportResult,
  type TierReportSchema,
} from "../../src/gen/frostline/v1/tier_pb.js";
import { connectTierService } from "./tier-service.js";

export type Outcome = Extract<NonNullable<MessageInitShape<typeof TierReportSchema>["outcome"]>, { value: unknown }>;

export interface MoverClient {
  /** Undefined: nothing is to be had at the moment. */
  claimOne(action: TierAction): Promise<TierClaim | undefined>;
  report(claim: TierClaim, outcome: Outcome): Promise<TierReportResult>;
  close(): void;
}

export interface ClientOptions {
  /** host:port */
  server: string;
  key: string;
  shareName: string;
  holder: string;
  leaseSeconds: number;
}

/** Tries of a call that the server could not serve at the moment; together they wait about a minute. */
const triesAtMost = 10;

export function connect({ server, key, shareName, holder, leaseSeconds }: ClientOptions): MoverClient {
  const { client, close } = connectTierService(server, key);
  return {
    async claimOne(action) {
      const { claims } = await again(() => client.claimTierObjects({ action, limit: 1, leaseSeconds, holder, shareName }));
      return claims[0];
    },
    async report({ tierId, leaseToken }, outcome) {
      // The same report again gets the same answer, so that an answer that was lost does no harm.
      const { results } = await again(() => client.reportTierObjects({ reports: [{ tierId, leaseToken, outcome }] }));
      if (!results[0]) throw new Error("The server's answer has no result.");
      return results[0];
    },
    close,
  };
}

export function isAccepted({ code }: TierReportResult): boolean {
  return code === TierReportCode.ACCEPTED;
}

async function again<T>(call: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await call();
    } catch (error) {
      const passing = error instanceof ConnectError && (error.code === Code.Unavailable || error.code === Code.DeadlineExceeded);
      if (!passing || tries === triesAtMost) throw error;
      await delay(Math.min(10_000, 100 * 2 ** tries));
    }
  }
}
