/** Settings of what callers may take: part of config.ts, which reads the environment and calls this. */
import { z } from "zod";
import type { CallKind, CallLimits } from "./limits/open-calls.js";

export interface LimitSettings {
  openCalls: Record<CallKind, CallLimits>;
  /** Credentials that turn out to be wrong, of an address in a minute; so many may also come at once. */
  failedAuthenticationsPerMinute: number;
  /** Of a unary call that names no deadline. */
  callDeadlineMs: number;
  /** A unary call's request must be there by then, and a connection's first call that needs a key and has one. */
  requestMs: number;
  /** A connection without a call for so long is told to go. */
  connectionIdleMs: number;
  /** Of connections on which nobody has shown a valid key or token yet, from one address. */
  unknownConnectionsPerAddress: number;
}

const wholeNumber = (fallback: number, most: number) =>
  z
    .string()
    .default(String(fallback))
    .refine((text) => /^\d{1,7}$/.test(text) && Number(text) >= 1 && Number(text) <= most, `expected a whole number from 1 to ${most}`)
    .transform(Number);

export const limitEnvironment = {
  FROSTLINE_TENANT_STREAMS: wholeNumber(256, 100_000).describe(
    "streams that a tenant may have open at once; of those that need no key, an address ([Limits](operations.md#limits))",
  ),
  FROSTLINE_STREAMS: wholeNumber(1024, 100_000).describe("streams that all tenants together may have open at once"),
  FROSTLINE_TENANT_CALLS: wholeNumber(128, 100_000).describe("unary calls under way of a tenant; of those that need no key, of an address"),
  FROSTLINE_CALLS: wholeNumber(512, 100_000).describe("unary calls under way of all tenants together"),
  FROSTLINE_FAILED_AUTHENTICATIONS_PER_MINUTE: wholeNumber(120, 1_000_000).describe("wrong keys and tokens that an address may show"),
  FROSTLINE_CALL_DEADLINE_SECONDS: wholeNumber(900, 86_400).describe("deadline of a unary call that names none"),
  FROSTLINE_REQUEST_SECONDS: wholeNumber(20, 3600).describe(
    "in which the request of a call that sends one message must arrive, and a new connection's first call with a valid key or token",
  ),
  FROSTLINE_CONNECTION_IDLE_SECONDS: wholeNumber(900, 86_400).describe("a connection without a call for so long is told to go elsewhere"),
  FROSTLINE_UNKNOWN_CONNECTIONS: wholeNumber(100, 100_000).describe(
    "connections from one address on which no valid key or token has been shown yet",
  ),
};

export function limitSettings(settings: z.output<z.ZodObject<typeof limitEnvironment>>): LimitSettings {
  return {
    openCalls: {
      stream: { ofGroup: settings.FROSTLINE_TENANT_STREAMS, inTotal: settings.FROSTLINE_STREAMS },
      unary: { ofGroup: settings.FROSTLINE_TENANT_CALLS, inTotal: settings.FROSTLINE_CALLS },
    },
    failedAuthenticationsPerMinute: settings.FROSTLINE_FAILED_AUTHENTICATIONS_PER_MINUTE,
    callDeadlineMs: settings.FROSTLINE_CALL_DEADLINE_SECONDS * 1000,
    requestMs: settings.FROSTLINE_REQUEST_SECONDS * 1000,
    connectionIdleMs: settings.FROSTLINE_CONNECTION_IDLE_SECONDS * 1000,
    unknownConnectionsPerAddress: settings.FROSTLINE_UNKNOWN_CONNECTIONS,
  };
}
