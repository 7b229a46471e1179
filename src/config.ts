/** The server's settings. Nothing else reads the environment. */
import * as path from "node:path";
import { z } from "zod";
import { type DescribedSetting, describeSettings } from "./config-described.js";
import { type LimitSettings, limitEnvironment, limitSettings } from "./config-limits.js";
import { type TokenSettings, tokenEnvironment, tokenSettings } from "./config-tokens.js";
import { type WebhookSettings, webhookEnvironment, webhookSettings } from "./config-webhooks.js";
import { withPasswordFile } from "./database-url.js";

export interface Config {
  /** Of the runtime role; undefined: an embedded PostgreSQL is started below dataDir. */
  databaseUrl: string | undefined;
  /** Absolute. Holds the embedded database and its keys. */
  dataDir: string;
  listen: ListenAddress;
  /** undefined: plaintext. */
  tls: TlsFiles | undefined;
  /** Bearer tokens beside API keys; undefined: none are taken. */
  tokens: TokenSettings | undefined;
  /** Absolute. Keys that tenants' data keys are wrapped with; undefined: one that an embedded database gets by itself, or none. */
  masterKeyFile: string | undefined;
  webhooks: WebhookSettings;
  limits: LimitSettings;
  /** The port for probes, metrics and calls over HTTP/1.1; undefined: none. */
  httpListen: ListenAddress | undefined;
  /** Absolute. Whoever reads the metrics has to know what is in it; undefined: they are open to whoever reaches the port. */
  metricsKeyFile: string | undefined;
  /** Web pages of these origins may call over HTTP/1.1 and gRPC-Web. */
  corsOrigins: string[];
  /** Between two pings of a connection. */
  keepaliveMs: number;
  /** A connection that is older is told to go elsewhere; its calls go on. */
  connectionMaxAgeMs: number;
  /** Between health saying NOT_SERVING and the first connection that is sent away. */
  stopDelayMs: number;
  /** Calls in progress may take so long once the server stops. */
  drainMs: number;
  logLevel: LogLevel;
  /** Messages and errors are logged with the values that they name, paths among them. */
  logPaths: boolean;
  /** A unary call that takes longer is a warning; 0: none is. */
  slowCallMs: number;
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

/** Files in PEM. */
export interface TlsFiles {
  /** The server's certificate, followed by those between it and the root. */
  cert: string;
  key: string;
  /** Callers need a certificate signed by one of these. */
  clientCa: string | undefined;
}

const logLevels = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

const wholeNumber = (fallback: number, most: number, least = 1) =>
  z
    .string()
    .default(String(fallback))
    .refine(
      (text) => /^\d{1,9}$/.test(text) && Number(text) >= least && Number(text) <= most,
      `expected a whole number from ${least} to ${most}`,
    )
    .transform(Number);

const environment = z.object({
  DATABASE_URL: z
    .string()
    .refine((text) => /^postgres(ql)?:\/\//.test(text) && URL.canParse(text), "expected postgres://user:password@host:port/database")
    .optional()
    .describe("of the runtime role, as a URL; direct connections or a pooler in session mode; unset: an embedded PostgreSQL"),
  DATABASE_PASSWORD_FILE: z
    .string()
    .optional()
    .describe("file whose first line is the password, if `DATABASE_URL` has none: the environment is no place for it"),
  FROSTLINE_DATA: z
    .string()
    .default(".frostline")
    .transform((dir) => path.resolve(dir))
    .describe("data and keys of the embedded PostgreSQL"),
  FROSTLINE_LISTEN: z.string().default("127.0.0.1:50051").transform(parseListen).describe("address and port for calls"),
  FROSTLINE_TLS_CERT: z.string().optional().describe("PEM file: the server's certificate, followed by those between it and the root"),
  FROSTLINE_TLS_KEY: z.string().optional().describe("PEM file: its private key, without a passphrase"),
  FROSTLINE_TLS_CLIENT_CA: z.string().optional().describe("PEM file: callers need a certificate that one of these has signed"),
  ...tokenEnvironment,
  ...webhookEnvironment,
  ...limitEnvironment,
  FROSTLINE_HTTP_LISTEN: z
    .string()
    .transform(parseListen)
    .optional()
    .describe("address and port for probes, metrics and calls over HTTP/1.1; unset: no such port"),
  FROSTLINE_METRICS_KEY_FILE: z
    .string()
    .transform((file) => path.resolve(file))
    .optional()
    .describe("file with a secret that `/metrics` asks for, at least 16 characters; unset: whoever reaches the port may read them"),
  FROSTLINE_CORS_ORIGINS: z.string().default("").transform(parseOrigins).describe("origins whose web pages may call, separated by commas"),
  FROSTLINE_KEEPALIVE_SECONDS: wholeNumber(60, 3600).describe(
    "between two pings of a connection; one that has not answered by the next ping is dropped",
  ),
  FROSTLINE_CONNECTION_MAX_AGE_SECONDS: wholeNumber(3600, 1_000_000).describe(
    "an older connection, give or take a tenth, is told to go elsewhere (GOAWAY); its calls go on",
  ),
  FROSTLINE_STOP_DELAY_SECONDS: wholeNumber(0, 600, 0).describe("between NOT_SERVING and the first connection that is sent away"),
  FROSTLINE_DRAIN_SECONDS: wholeNumber(10, 600).describe("calls in progress may take so long once the server stops"),
  FROSTLINE_ALLOW_PLAINTEXT: z.enum(["0", "1"], "expected 0 or 1").default("0").describe("`1` lets it listen beyond loopback without TLS"),
  FROSTLINE_LOG_LEVEL: z
    .enum(logLevels, `expected one of ${logLevels.join(", ")}`)
    .default("info")
    .describe("`fatal`, `error`, `warn`, `info`, `debug`, `trace` or `silent`; JSON lines on stderr"),
  FROSTLINE_LOG_PATHS: z
    .enum(["0", "1"], "expected 0 or 1")
    .default("0")
    .describe("`1` lets messages of errors, and the values in PostgreSQL's, be logged: paths and names of files may be among them"),
  FROSTLINE_SLOW_CALL_SECONDS: wholeNumber(10, 3600, 0).describe("a unary call that takes longer is logged as a warning; 0: none is"),
  FROSTLINE_QUERY_POOL: wholeNumber(10, 999).describe("connections for short calls"),
  FROSTLINE_INGEST_POOL: wholeNumber(8, 999).describe("connections that merge scans and audit batches"),
  FROSTLINE_MAINTENANCE_SECONDS: wholeNumber(3600, 86_400).describe("between two runs of the background jobs"),
  FROSTLINE_AUDIT_KEEP_DAYS: wholeNumber(7, 3650).describe("so long a processed audit event is remembered"),
  FROSTLINE_PREFETCH_IS_ACCESS: z.enum(["0", "1"], "expected 0 or 1").default("0").describe("`1` lets prefetches count as accesses"),
});

/** The variables that are read, for docs/settings.md. */
export const describedSettings: readonly DescribedSetting[] = describeSettings(environment);
export const settingNames: readonly string[] = describedSettings.map(({ name }) => name);

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
  const tls = tlsFiles(settings);
  assertNotInClear("FROSTLINE_LISTEN", settings.FROSTLINE_LISTEN, tls, settings);
  assertNotInClear("FROSTLINE_HTTP_LISTEN", settings.FROSTLINE_HTTP_LISTEN, tls, settings);
  return {
    databaseUrl: settings.DATABASE_URL && withPasswordFile(settings.DATABASE_URL, settings.DATABASE_PASSWORD_FILE),
    dataDir: settings.FROSTLINE_DATA,
    listen: settings.FROSTLINE_LISTEN,
    tls,
    tokens: tokenSettings(settings),
    masterKeyFile: settings.FROSTLINE_MASTER_KEY_FILE,
    webhooks: webhookSettings(settings),
    limits: limitSettings(settings),
    httpListen: settings.FROSTLINE_HTTP_LISTEN,
    metricsKeyFile: settings.FROSTLINE_METRICS_KEY_FILE,
    corsOrigins: settings.FROSTLINE_CORS_ORIGINS,
    keepaliveMs: settings.FROSTLINE_KEEPALIVE_SECONDS * 1000,
    connectionMaxAgeMs: settings.FROSTLINE_CONNECTION_MAX_AGE_SECONDS * 1000,
    stopDelayMs: settings.FROSTLINE_STOP_DELAY_SECONDS * 1000,
    drainMs: settings.FROSTLINE_DRAIN_SECONDS * 1000,
    logLevel: settings.FROSTLINE_LOG_LEVEL,
    logPaths: settings.FROSTLINE_LOG_PATHS === "1",
    slowCallMs: settings.FROSTLINE_SLOW_CALL_SECONDS * 1000,
    queryPoolMax: settings.FROSTLINE_QUERY_POOL,
    ingestPoolMax: settings.FROSTLINE_INGEST_POOL,
    maintenanceIntervalMs: settings.FROSTLINE_MAINTENANCE_SECONDS * 1000,
    auditKeepDays: settings.FROSTLINE_AUDIT_KEEP_DAYS,
    prefetchIsAccess: settings.FROSTLINE_PREFETCH_IS_ACCESS === "1",
  };
}

type Settings = z.output<typeof environment>;

function tlsFiles(settings: Settings): TlsFiles | undefined {
  const { FROSTLINE_TLS_CERT: cert, FROSTLINE_TLS_KEY: key, FROSTLINE_TLS_CLIENT_CA: clientCa } = settings;
  if (cert === undefined && key === undefined && clientCa === undefined) return undefined;
  if (cert === undefined || key === undefined) {
    const missing = cert === undefined ? "FROSTLINE_TLS_CERT" : "FROSTLINE_TLS_KEY";
    throw new Error(`The settings are not usable:\n  ${missing}: is not set, and TLS needs both a certificate and its key.`);
  }
  return { cert, key, clientCa };
}

function assertNotInClear(setting: string, address: ListenAddress | undefined, tls: TlsFiles | undefined, settings: Settings): void {
  if (address === undefined || tls !== undefined || isLoopback(address.host) || settings.FROSTLINE_ALLOW_PLAINTEXT === "1") return;
  throw new Error(
    `The settings are not usable:\n  ${setting}: is not a loopback address, and keys would cross the network unencrypted. Set FROSTLINE_TLS_CERT and FROSTLINE_TLS_KEY; or, behind a TLS proxy, FROSTLINE_ALLOW_PLAINTEXT=1.`,
  );
}

function parseOrigins(text: string, context: z.RefinementCtx): string[] {
  const origins = text
    .split(",")
    .map((origin) => origin.trim())
    .filter((origin) => origin !== "");
  if (origins.some((origin) => !URL.canParse(origin) || new URL(origin).origin !== origin)) {
    context.addIssue({ code: "custom", message: "expected origins as https://console.example.com, separated by commas" });
    return z.NEVER;
  }
  return origins;
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

/** Whether a name or address never leaves the machine. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
