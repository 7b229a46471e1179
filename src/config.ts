/** The server's settings. Nothing else reads the environment. */
import * as path from "node:path";
import { z } from "zod";

export interface Config {
  /** Of the runtime role; undefined: an embedded PostgreSQL is started below dataDir. */
  databaseUrl: string | undefined;
  /** Absolute. Holds the embedded database and its keys. */
  dataDir: string;
  listen: ListenAddress;
  logLevel: LogLevel;
  /** Connections for everything but scans. */
  queryPoolMax: number;
  /** Connections for merging scans: so many segments are merged at once. */
  ingestPoolMax: number;
  /** Between two runs of the background jobs. */
  maintenanceIntervalMs: number;
  /** So long a processed audit event is remembered, so that it counts once when it comes again. */
  auditKeepDays: number;
  /** Whether data fetched ahead of a read counts as an access. */
  prefetchIsAccess: boolean;
}

export interface ListenAddress {
  /** A name or an address; an IPv6 address without brackets. */
  host: string;
  /** 0: any free port. */
  port: number;
}

const logLevels = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

const wholeNumber = (fallback: number, most: number) =>
  z
    .string()
    .default(String(fallback))
    .refine((text) => /^\d{1,9}$/.test(text) && Number(text) >= 1 && Number(text) <= most, `expected a whole number from 1 to ${most}`)
    .transform(Number);

const environment = z.object({
  DATABASE_URL: z
    .string()
    .refine((text) => /^postgres(ql)?:\/\//.test(text) && URL.canParse(text), "expected postgres://user:password@host:port/database")
    .optional(),
  FROSTLINE_DATA: z
    .string()
    .default(".frostline")
    .transform((dir) => path.resolve(dir)),
  FROSTLINE_LISTEN: z.string().default("127.0.0.1:50051").transform(parseListen),
  FROSTLINE_ALLOW_PLAINTEXT: z.enum(["0", "1"], "expected 0 or 1").default("0"),
  FROSTLINE_LOG_LEVEL: z.enum(logLevels, `expected one of ${logLevels.join(", ")}`).default("info"),
  FROSTLINE_QUERY_POOL: wholeNumber(10, 999),
  FROSTLINE_INGEST_POOL: wholeNumber(8, 999),
  FROSTLINE_MAINTENANCE_SECONDS: wholeNumber(3600, 86_400),
  FROSTLINE_AUDIT_KEEP_DAYS: wholeNumber(7, 3650),
  FROSTLINE_PREFETCH_IS_ACCESS: z.enum(["0", "1"], "expected 0 or 1").default("0"),
});

/** Settings from the environment; an empty variable counts as unset. Throws an Error that names each bad one, never with its value. */
export function loadConfig(env: Record<string, string | undefined>): Config {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ""));
  const parsed = environment.safeParse(given);
  if (!parsed.success) {
    throw new Error(
      `The settings are not usable:\n${parsed.error.issues.map((issue) => `  ${issue.path.join(".")}: ${issue.message}`).join("\n")}`,
    );
  }
  const settings = parsed.data;
  if (!isLoopback(settings.FROSTLINE_LISTEN.host) && settings.FROSTLINE_ALLOW_PLAINTEXT === "0") {
    throw new Error(
      "The settings are not usable:\n  FROSTLINE_LISTEN: is not a loopback address, and keys would cross the network unencrypted. Put a TLS proxy in front and listen on 127.0.0.1, or set FROSTLINE_ALLOW_PLAINTEXT=1.",
    );
  }
  return {
    databaseUrl: settings.DATABASE_URL,
    dataDir: settings.FROSTLINE_DATA,
    listen: settings.FROSTLINE_LISTEN,
    logLevel: settings.FROSTLINE_LOG_LEVEL,
    queryPoolMax: settings.FROSTLINE_QUERY_POOL,
    ingestPoolMax: settings.FROSTLINE_INGEST_POOL,
    maintenanceIntervalMs: settings.FROSTLINE_MAINTENANCE_SECONDS * 1000,
    auditKeepDays: settings.FROSTLINE_AUDIT_KEEP_DAYS,
    prefetchIsAccess: settings.FROSTLINE_PREFETCH_IS_ACCESS === "1",
  };
}

function parseListen(text: string, context: z.RefinementCtx): ListenAddress {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) > 65_535) {
    context.addIssue({ code: "custom", message: "expected host:port, e.g. 127.0.0.1:50051 or [::1]:50051" });
    return z.NEVER;
  }
  return { host, port: Number(port) };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
