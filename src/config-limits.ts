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
  FROSTLINE_TENANT_STREAMS: wholeNumber(256, 100_000),
  FROSTLINE_STREAMS: wholeNumber(1024, 100_000),
  FROSTLINE_TENANT_CALLS: wholeNumber(128, 100_000),
  FROSTLINE_CALLS: wholeNumber(512, 100_000),
  FROSTLINE_FAILED_AUTHENTICATIONS_PER_MINUTE: wholeNumber(600, 1_000_000),
  FROSTLINE_CALL_DEADLINE_SECONDS: wholeNumber(900, 86_400),
  FROSTLINE_REQUEST_SECONDS: wholeNumber(20, 3600),
  FROSTLINE_CONNECTION_IDLE_SECONDS: wholeNumber(900, 86_400),
  FROSTLINE_UNKNOWN_CONNECTIONS: wholeNumber(100, 100_000),
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
