/** How a command ends: exit statuses, the errors of the command line itself, and what a person reads of any error. */
import { CommanderError } from "commander";
import { RpcError } from "../agent/rpc-error.js";
import { visible } from "./format.js";

/** 0 done, 1 failed, 2 wrong usage, 3 done with warnings. */
export type ExitStatus = 0 | 1 | 2 | 3;

/** The command line asks for something that cannot be meant; ends with status 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** A person stopped the command; the message says how to go on. */
export class Interrupted extends Error {
  override name = "Interrupted";
}

/** Whoever read our output has gone (`ls | head`): nothing is left to do, and nothing went wrong. */
export class OutputClosed extends Error {
  override name = "OutputClosed";
}

/** The exit status an error stands for, and the words for stderr (empty when there is nothing to say). */
export function describeError(error: unknown, verbose: boolean): { status: ExitStatus; message: string } {
  if (error instanceof OutputClosed) return { status: 0, message: "" };
  // Commander has written its own message; help and version are errors to it, with exit code 0.
  if (error instanceof CommanderError) return { status: error.exitCode === 0 ? 0 : 2, message: "" };
  if (error instanceof UsageError) return { status: 2, message: `error: ${visible(error.message)}\n` };
  if (error instanceof Interrupted) return { status: 1, message: `${visible(error.message)}\n` };
  if (!(error instanceof Error)) return { status: 1, message: `error: ${visible(String(error))}\n` };
  const words = error instanceof RpcError ? rpcWords(error) : plainWords(error);
  return { status: 1, message: `error: ${visible(words)}\n${verbose ? `${visible(stackOf(error))}\n` : ""}` };
}

function rpcWords(error: RpcError): string {
  // A status without a reason did not come from Frostline: the transport made it.
  if (error.reason === "" && error.code === "UNAVAILABLE") {
    if (/certificate/i.test(error.message)) {
      return `The server cannot be trusted: ${error.message}\nIf an authority of your own has signed its certificate, name that with --ca or FROSTLINE_CA.`;
    }
    return `The server cannot be reached: ${error.message}\nIs it running? \`frostline serve\` starts one here; --server or FROSTLINE_SERVER names another.`;
  }
  if (error.reason === "CERTIFICATE_REFUSED") return `${error.message}\nName its files with --client-cert and --client-key.`;
  if (error.code === "UNAUTHENTICATED") return `${error.message}\nPass a valid key or token with --key or FROSTLINE_KEY.`;
  return error.message;
}

/** Several addresses of one host that all refused make an AggregateError, whose own message is empty. */
function plainWords(error: Error): string {
  if (error instanceof AggregateError && error.message === "") return error.errors.map(String).join("\n");
  return error.message || error.name;
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : "";
  return `${error.stack ?? error.message}${cause}`;
}
