/** Where a command writes: results to stdout, words to stderr. */
import { once } from "node:events";
import type { Writable } from "node:stream";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { toJsonString } from "@bufbuild/protobuf";
import { OutputClosed } from "./errors.js";
import { safeJson, visible } from "./format.js";

export interface Output {
  /** Only JSON goes to stdout. */
  json: boolean;
  /** True when a person watches stderr: progress bars are welcome. */
  terminal: boolean;
  /** Writes lines to stdout; resolves when it takes more. Throws OutputClosed once its reader has gone. */
  print(lines: string[]): Promise<void>;
  /** One JSON object a message, each on a line of its own. */
  printMessages<Desc extends DescMessage>(schema: Desc, messages: MessageShape<Desc>[]): Promise<void>;
  /** Words for people, at once, to stderr. */
  note(message: string): void;
}

/** Takes over the error events of `stdout`. */
export function createOutput(stdout: Writable, stderr: Writable & { isTTY?: boolean }, json: boolean): Output {
  let failure: Error | undefined;
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    failure = error.code === "EPIPE" ? new OutputClosed("stdout was closed") : error;
  });
  const print = async (lines: string[]) => {
    if (failure) throw failure;
    if (lines.length === 0 || stdout.write(`${lines.join("\n")}\n`)) return;
    await once(stdout, "drain").catch((error) => {
      throw failure ?? error;
    });
  };
  return {
    json,
    terminal: stderr.isTTY === true,
    print,
    printMessages: (schema, messages) => print(messages.map((message) => jsonLine(schema, message))),
    note: (message) => void stderr.write(`${visible(message)}\n`),
  };
}

/** Fields without a value of their own are there too, so that every line of a kind has the same keys (optional ones aside). */
function jsonLine<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): string {
  return safeJson(toJsonString(schema, message, { alwaysEmitImplicit: true }));
}
