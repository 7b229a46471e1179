/** Structured logs, one JSON object a line, to stderr: stdout belongs to what a command answers. */
import { type Logger, pino } from "pino";
import type { LogLevel } from "./config.js";

export type { Logger } from "pino";

/** A logger that drops what is below `level`. Keys, passwords and the paths of files are never logged at info and above. */
export function createLogger(level: LogLevel): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: 2, sync: true }));
}
