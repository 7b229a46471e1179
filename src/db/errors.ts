/** SQLSTATE -> domain error, in one place. */
import pg from "pg";
import { DomainError } from "../errors.js";

/** Losing the server, running out of its resources, or losing a race: the same statement may succeed later. */
const retryable = new Map<string, string>([
  ["40001", "serialization failure"],
  ["40P01", "deadlock"],
  ["55P03", "lock not available in time"],
  ["53100", "disk full"],
  ["53200", "out of memory"],
  ["53300", "too many connections"],
  ["57014", "statement cancelled"],
  // It was there a moment before. The next time it is found to be gone, which has an error of its own.
  ["23503", "what it belongs to was removed meanwhile"],
  ["57P01", "administrator shutdown"],
  ["57P02", "crash shutdown"],
  ["57P03", "starting up or shutting down"],
  ["57P05", "idle session ended"],
  ["25P03", "idle transaction ended"],
]);

/** U+0000, which JavaScript and the wire know as a character and PostgreSQL does not; in a text, and as an escape in jsonb. */
const nulInText = new Set(["22021", "22P05"]);

/** Node's and pg's ways to say that the connection is gone. */
const connectionCodes = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH"]);
const connectionMessages =
  /^(Connection terminated|Client has encountered a connection error|timeout expired|timeout exceeded when trying to connect|Client was closed|Connection ended)/;

/** The domain error that a database error stands for; any other error unchanged. */
export function toDomainError(error: unknown): unknown {
  if (error instanceof DomainError || !(error instanceof Error)) return error;
  const code = (error as { code?: unknown }).code;
  if (error instanceof pg.DatabaseError) {
    // Of what is stored each field is looked at before. What is only looked for, by whatever call, ends here.
    if (nulInText.has(code as string)) return textWithNul(error);
    const what = retryable.get(code as string) ?? ((code as string).startsWith("08") ? "connection failure" : undefined);
    if (what === undefined) return error;
    return unavailable(`The database could not finish the work (${what}). Try again.`, error);
  }
  if (isConnectionError(error)) return unavailable("The database cannot be reached. Try again.", error);
  return error;
}

/** True when the connection itself is lost, so that nothing is known of its last statement. */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof pg.DatabaseError) return error.code?.startsWith("57P") === true || error.code?.startsWith("08") === true;
  return connectionCodes.has((error as { code?: string }).code ?? "") || connectionMessages.test(error.message);
}

/** True when an open connection was dropped by the other side. */
export function isConnectionReset(error: unknown): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return code === "ECONNRESET" || message === "Connection terminated unexpectedly";
}

/** SQLSTATE of a database error, or undefined. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}

function textWithNul(cause: Error): DomainError {
  return new DomainError("INVALID_ARGUMENT", "A text of the request has the character NUL, which no text may have. Leave it out.", {
    reason: "NUL_IN_TEXT",
    cause,
  });
}

function unavailable(message: string, cause: Error): DomainError {
  return new DomainError("UNAVAILABLE", message, { reason: "DATABASE_UNAVAILABLE", retryDelayMs: 1000, cause });
}
