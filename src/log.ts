/** Structured logs, one JSON object a line, to stderr: stdout belongs to what a command answers. */
import { type Logger, pino } from "pino";
import type { LogLevel } from "./config.js";

export type { Logger } from "pino";

/** A logger that drops what is below `level`. Keys, passwords and the paths of files are never logged at info and above. */
export function createLogger(level: LogLevel): Logger {
  const serializers = { err: serializeError };
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, serializers }, pino.destination({ dest: 2, sync: true }));
}

/**
 * What a log line says of an error. Only this: libraries hang whole objects on their errors (pg-pool the client, password
 * and all), and PostgreSQL's details have values of rows.
 */
export function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { name, message, stack, cause } = error;
  const code = (error as { code?: unknown }).code;
  return {
    type: name,
    message,
    stack,
    ...(typeof code === "string" || typeof code === "number" ? { code } : {}),
    ...(cause instanceof Error ? { cause: serializeError(cause) } : {}),
  };
}
