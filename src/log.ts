/** Structured logs, one JSON object a line, to stderr: stdout belongs to what a command answers. */
import pg from "pg";
import { type DestinationStream, type Logger, pino } from "pino";
import type { LogLevel } from "./config.js";

export type { Logger } from "pino";

export interface LogOptions {
  /** Values that PostgreSQL tells of with its errors are logged, paths and names among them. */
  values?: boolean;
  /** Default: stderr. */
  destination?: DestinationStream;
}

/** A logger that drops what is below `level`. Keys, passwords and, unless `values` says so, the paths of files are never logged at info and above. */
export function createLogger(level: LogLevel, { values = false, destination }: LogOptions = {}): Logger {
  const serializers = { err: (error: unknown) => serializeError(error, values) };
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, serializers },
    destination ?? pino.destination({ dest: 2, sync: true }),
  );
}

/**
 * What a log line says of an error. Only this: libraries hang whole objects on their errors (pg-pool the client, password
 * and all), and PostgreSQL's details have values of rows.
 */
export function serializeError(error: unknown, values = false): unknown {
  if (!(error instanceof Error)) return error;
  const { name, message, stack, cause } = error;
  const { code, detail } = error as { code?: unknown; detail?: unknown };
  const told = values ? message : withoutValues(error);
  return {
    type: name,
    message: told,
    // It begins with the message.
    stack: stack?.replace(message, () => told),
    ...(typeof code === "string" || typeof code === "number" ? { code } : {}),
    ...(values && error instanceof pg.DatabaseError && detail !== undefined ? { detail } : {}),
    ...(cause instanceof Error ? { cause: serializeError(cause, values) } : {}),
  };
}

const errorCharactersAtMost = 1000;

/** An error in a line, its causes behind it, without values of rows. For people who may see no path. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  const { code } = error as { code?: unknown };
  const own = `${withoutValues(error)}${typeof code === "string" && error instanceof pg.DatabaseError ? ` (${code})` : ""}`;
  return `${own}${error.cause instanceof Error ? `: ${errorText(error.cause)}` : ""}`.slice(0, errorCharactersAtMost);
}

/** PostgreSQL's data exceptions (class 22) quote the value that is at fault; the other classes quote names of the schema. */
function withoutValues(error: Error): string {
  if (!(error instanceof pg.DatabaseError) || error.code?.startsWith("22") !== true) return error.message;
  return error.message.replace(/".*"/s, '"..."');
}
