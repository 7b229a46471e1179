/** What every command is given, and how its action is run. */
import type { Command } from "commander";
import type { ConnectionOptions } from "./connection.js";
import type { ExitStatus } from "./errors.js";
import { createOutput, type Output } from "./output.js";

export interface GlobalOptions extends ConnectionOptions {
  json: boolean;
  verbose: boolean;
}

export interface Context {
  global: GlobalOptions;
  output: Output;
}

/** A commander action that runs `run` and leaves its status as the process's exit code. */
export function action<Options, Args extends unknown[]>(
  run: (context: Context, options: Options, ...args: Args) => Promise<ExitStatus>,
): (...given: unknown[]) => Promise<void> {
  return async (...given) => {
    // Commander passes the arguments, then the options, then the command.
    const command = given.at(-1) as Command;
    const options = given.at(-2) as Options;
    const global = command.optsWithGlobals<GlobalOptions>();
    const output = createOutput(process.stdout, process.stderr, global.json);
    process.exitCode = await run({ global, output }, options, ...(given.slice(0, -2) as Args));
  };
}
